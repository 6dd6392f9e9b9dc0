# How our own tests, benchmarks and examples are compiled. None of it reaches a user of rondo.
add_library(rondo_program INTERFACE)
target_link_libraries(rondo_program INTERFACE ${rondo_targets})
target_compile_options(rondo_program INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
    -Wall -Wextra -Wpedantic -Wconversion $<$<CXX_COMPILER_ID:Clang>:-Wno-sign-conversion>
    $<$<BOOL:${RONDO_ARCH}>:-march=${RONDO_ARCH}>>)

if(PROJECT_IS_TOP_LEVEL AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    find_program(RONDO_CCACHE ccache)
    if(RONDO_CCACHE)
        set(CMAKE_CXX_COMPILER_LAUNCHER ${RONDO_CCACHE})
    endif()
endif()
