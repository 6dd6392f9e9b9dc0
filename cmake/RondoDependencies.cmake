# Finds Eigen (3.4 or newer) and xsimd (8.1 or newer), whatever their major version: their own
# version files refuse a newer one. Used by this project and by its installed package.
# Sets rondo_missing to a sentence when one of them is not there. Targets are global, so that a
# project that holds rondo in a subdirectory can link it.
macro(rondo_find package target least debian)
    if(NOT TARGET ${target})
        find_package(${package} QUIET CONFIG)
        if(NOT TARGET ${target} OR ${package}_VERSION VERSION_LESS ${least})
            string(APPEND rondo_missing "rondo needs ${package} ${least} or newer "
                "(found: ${${package}_VERSION}; Debian and Ubuntu: ${debian}; elsewhere: set ${package}_DIR). ")
        else()
            set_target_properties(${target} PROPERTIES IMPORTED_GLOBAL TRUE)
        endif()
    endif()
endmacro()

set(rondo_missing "")
rondo_find(Eigen3 Eigen3::Eigen 3.4 libeigen3-dev)
rondo_find(xsimd xsimd 8.1 libxsimd-dev)

# Debian's xsimd 8.1 links xtl, which only its std::complex batches use and which it may not bring:
# left alone it would reach the linker as -lxtl.
if(TARGET xsimd AND NOT TARGET xtl)
    get_target_property(rondo_xsimd_links xsimd INTERFACE_LINK_LIBRARIES)
    if(rondo_xsimd_links STREQUAL "xtl")
        set_target_properties(xsimd PROPERTIES INTERFACE_LINK_LIBRARIES "")
    endif()
endif()

if(NOT TARGET OpenMP::OpenMP_CXX)
    find_package(OpenMP QUIET COMPONENTS CXX)
    if(TARGET OpenMP::OpenMP_CXX)
        set_target_properties(OpenMP::OpenMP_CXX PROPERTIES IMPORTED_GLOBAL TRUE)
    endif()
endif()
