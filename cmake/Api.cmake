# What an application includes, links and finds: include/fewshift, libfewshift, the CMake package, the pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

file(STRINGS "${CMAKE_SOURCE_DIR}/include/fewshift/fewshift.h" api_version REGEX "define FEWSHIFT_ABI_VERSION")
string(REGEX REPLACE ".* " "" api_version "${api_version}")
file(GLOB api_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/api/*.cc")
list(FILTER api_sources EXCLUDE REGEX "_test\\.cc$")
set(api_map "${CMAKE_SOURCE_DIR}/src/api/symbols.map")

add_library(fewshift_shared SHARED ${api_sources})
target_link_libraries(fewshift_shared PRIVATE fewshift_base)
target_link_options(fewshift_shared PRIVATE "LINKER:--version-script=${api_map}" "LINKER:--gc-sections")
set_target_properties(fewshift_shared PROPERTIES OUTPUT_NAME fewshift EXPORT_NAME fewshift DEFINE_SYMBOL ""
  VERSION ${PROJECT_VERSION} SOVERSION ${api_version} LINK_DEPENDS "${api_map}")

# With all that it needs of ours in it; what it needs of others is named where it is linked.
add_library(fewshift_static STATIC ${api_sources} $<TARGET_OBJECTS:fewshift_base>)
target_link_libraries(fewshift_static INTERFACE turbojpeg png webpdemux webp Threads::Threads stdc++ m)  # also from projects in C
set_target_properties(fewshift_static PROPERTIES OUTPUT_NAME fewshift EXPORT_NAME fewshift_static)

foreach(library fewshift_shared fewshift_static)
  target_compile_definitions(${library} PRIVATE FEWSHIFT_VERSION="${PROJECT_VERSION}")
  target_include_directories(${library} PUBLIC
    "$<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  set_target_properties(${library} PROPERTIES
    ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}" LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
endforeach()

file(RELATIVE_PATH api_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")  # from where it lies
configure_file(cmake/fewshift.pc.in "${CMAKE_BINARY_DIR}/fewshift.pc" @ONLY)
configure_file(cmake/fewshift-config.cmake.in "${CMAKE_BINARY_DIR}/fewshift-config.cmake" @ONLY)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/fewshift-config-version.cmake" COMPATIBILITY SameMinorVersion)
set(api_cmake "${CMAKE_INSTALL_LIBDIR}/cmake/fewshift")
install(TARGETS fewshift_shared fewshift_static EXPORT fewshift COMPONENT library)
install(DIRECTORY include/fewshift DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT library)
install(EXPORT fewshift NAMESPACE fewshift:: DESTINATION "${api_cmake}" FILE fewshift-targets.cmake COMPONENT library)
install(FILES "${CMAKE_BINARY_DIR}/fewshift-config.cmake" "${CMAKE_BINARY_DIR}/fewshift-config-version.cmake"
  DESTINATION "${api_cmake}" COMPONENT library)
install(FILES "${CMAKE_BINARY_DIR}/fewshift.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)
