# Finds nvcc for our own CUDA tests and benchmarks; a user of the library enables CUDA by itself.
# Sets rondo_cuda_found.
include(CheckLanguage)
set(rondo_cuda_found FALSE)
if(NOT RONDO_CUDA STREQUAL "OFF")
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        set(CMAKE_CUDA_ARCHITECTURES ${RONDO_CUDA_ARCH})
        enable_language(CUDA)
        if("cuda_std_20" IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
            set(CMAKE_CUDA_STANDARD 20)
        else()  # CMake is older than this nvcc
            string(APPEND CMAKE_CUDA_FLAGS " -std=c++20")
        endif()
        set(rondo_cuda_found TRUE)
    elseif(NOT RONDO_CUDA STREQUAL "AUTO")
        message(FATAL_ERROR "RONDO_CUDA=${RONDO_CUDA} needs nvcc: set CMAKE_CUDA_COMPILER or RONDO_CUDA=OFF")
    endif()
endif()
