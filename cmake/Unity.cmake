# Several sources are compiled as one: a whole build takes half the time, since headers (LibTorch's above all) and what
# they instantiate cost more than most sources do. A change in one of them costs more: FEWSHIFT_UNITY=OFF to work on it.
option(FEWSHIFT_UNITY "Compile several sources at a time: a whole build takes half the time" ON)

# In groups of at most `size` sources of one folder; those that match one of the expressions behind, by themselves.
function(unify target size)
  if(NOT FEWSHIFT_UNITY)
    return()
  endif()
  list(JOIN ARGN "|" alone)
  get_target_property(sources ${target} SOURCES)
  foreach(source ${sources})
    if(alone AND source MATCHES "${alone}")
      continue()
    endif()
    get_filename_component(folder "${source}" DIRECTORY)
    string(MAKE_C_IDENTIFIER "${folder}" folder)
    math(EXPR number "${before_${folder}} + 0")
    math(EXPR before_${folder} "${number} + 1")
    math(EXPR group "${number} / ${size}")
    set_source_files_properties("${source}" PROPERTIES UNITY_GROUP "${folder}_${group}")
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
