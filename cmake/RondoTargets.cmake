# rondo::rondo, the headers; rondo::openmp, the same with OpenMP switched on.
add_library(rondo INTERFACE)
add_library(rondo::rondo ALIAS rondo)
target_compile_features(rondo INTERFACE cxx_std_20)
target_link_libraries(rondo INTERFACE Eigen3::Eigen xsimd)
set(rondo_targets rondo)

file(GLOB_RECURSE rondo_headers CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/include/rondo/*.hpp ${PROJECT_SOURCE_DIR}/include/rondo/*.cuh)
if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.23)
    target_sources(rondo INTERFACE FILE_SET HEADERS
        BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${rondo_headers})
else()
    target_include_directories(rondo INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
endif()

if(TARGET OpenMP::OpenMP_CXX)
    add_library(rondo_openmp INTERFACE)
    add_library(rondo::openmp ALIAS rondo_openmp)
    set_target_properties(rondo_openmp PROPERTIES EXPORT_NAME openmp)
    target_link_libraries(rondo_openmp INTERFACE rondo OpenMP::OpenMP_CXX)
    list(APPEND rondo_targets rondo_openmp)
endif()

# rondo::cuda, for programs compiled by nvcc: <rondo/cuda.cuh>. It needs nothing where it is not used.
add_library(rondo_cuda INTERFACE)
add_library(rondo::cuda ALIAS rondo_cuda)
set_target_properties(rondo_cuda PROPERTIES EXPORT_NAME cuda)
target_link_libraries(rondo_cuda INTERFACE rondo)
# Pragmas of the host compiler and of Eigen's annotations mean nothing to nvcc, which says so at each;
# nor does it see what `if constexpr` leaves out.
target_compile_options(rondo_cuda INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:-diag-suppress=128,177,1675,20012,20013,20014,20015>)
list(APPEND rondo_targets rondo_cuda)
