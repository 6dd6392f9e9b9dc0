# The same targets, built from pinned releases. FETCHCONTENT_SOURCE_DIR_<NAME> puts a local copy
# in the place of a download.
include(FetchContent)
if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.25)
    set(rondo_system SYSTEM)  # their headers' warnings are not ours
endif()

function(rondo_fetch name address)
    FetchContent_Declare(${name} URL ${address} ${rondo_system})
    FetchContent_MakeAvailable(${name})
endfunction()

set(BUILD_TESTING OFF)
set(EIGEN_BUILD_CMAKE_PACKAGE ${RONDO_INSTALL})  # an installed rondo looks for an installed Eigen
set(EIGEN_BUILD_PKGCONFIG ${RONDO_INSTALL})
rondo_fetch(Eigen https://gitlab.com/libeigen/eigen/-/archive/5.0.1/eigen-5.0.1.tar.gz)
rondo_fetch(xsimd https://github.com/xtensor-stack/xsimd/archive/refs/tags/14.3.0.tar.gz)
find_package(OpenMP QUIET COMPONENTS CXX)
