// Where the build has put what the tests run. One file is compiled with these paths, so that all others are the same in
// every checkout.
#pragma once

extern const char* const SLUICED_PATH;
extern const char* const SLUICED_AT_INSTANTS_PATH;  // sluiced that ends itself (support/instants.h)
extern const char* const SLUICECTL_PATH;
extern const char* const BAD_DISK_PATH;    // a library to preload: a disk that fails
extern const char* const SLUICE_PACKAGES;  // Debian's packages, unpacked
