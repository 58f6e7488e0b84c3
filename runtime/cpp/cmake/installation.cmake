# What `cmake --install` writes.  All of it works from another prefix than CMAKE_INSTALL_PREFIX.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dsunet_runtime)

install(TARGETS dsunet_runtime EXPORT dsunet_runtime
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/dsunet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# find_package(dsunet_runtime)
install(EXPORT dsunet_runtime NAMESPACE dsunet:: FILE dsunet_runtimeTargets.cmake
  DESTINATION ${package_dir})
configure_package_config_file(cmake/dsunet_runtimeConfig.cmake.in dsunet_runtimeConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(dsunet_runtimeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dsunet_runtimeConfig.cmake
  ${PROJECT_BINARY_DIR}/dsunet_runtimeConfigVersion.cmake DESTINATION ${package_dir})

# pkg-config finds the prefix from the place of its file.
cmake_path(IS_ABSOLUTE CMAKE_INSTALL_LIBDIR is_absolute)
if(is_absolute)
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(pc_libdir ${CMAKE_INSTALL_LIBDIR})
else()
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
configure_file(cmake/dsunet_runtime.pc.in dsunet_runtime.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/dsunet_runtime.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
