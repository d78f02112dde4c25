// SLUICE_API marks what belongs to the interface: libsluice.so shows these names and no others. SLUICE_INTERNAL marks
// what stands within such a class and is not for show. Nothing for a user to do.
#pragma once

#define SLUICE_API __attribute__((visibility("default")))
#define SLUICE_INTERNAL __attribute__((visibility("hidden")))
