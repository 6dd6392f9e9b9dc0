# Headers, CMake package and pkg-config file. All of it is independent of the architecture.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(rondo_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/rondo)

if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.23)
    install(TARGETS ${rondo_targets} EXPORT rondoTargets FILE_SET HEADERS)
else()
    install(TARGETS ${rondo_targets} EXPORT rondoTargets)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/rondo TYPE INCLUDE)
endif()
install(EXPORT rondoTargets NAMESPACE rondo:: DESTINATION ${rondo_package_dir})

set(rondo_package_files ${PROJECT_BINARY_DIR}/package)
write_basic_package_version_file(${rondo_package_files}/rondoConfigVersion.cmake
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
    ${PROJECT_SOURCE_DIR}/cmake/rondoConfig.cmake
    ${PROJECT_SOURCE_DIR}/cmake/RondoDependencies.cmake
    ${rondo_package_files}/rondoConfigVersion.cmake
    DESTINATION ${rondo_package_dir})

file(RELATIVE_PATH rondo_pc_to_prefix /${CMAKE_INSTALL_DATADIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/rondo.pc.in ${rondo_package_files}/rondo.pc @ONLY)
install(FILES ${rondo_package_files}/rondo.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
