// See the header; the build defines the PATHS_….
#include "support/paths.h"

const char* const SLUICED_PATH = PATHS_SLUICED;
const char* const SLUICED_AT_INSTANTS_PATH = PATHS_SLUICED_AT_INSTANTS;
const char* const SLUICECTL_PATH = PATHS_SLUICECTL;
const char* const BAD_DISK_PATH = PATHS_BAD_DISK;
const char* const SLUICE_PACKAGES = PATHS_PACKAGES;
