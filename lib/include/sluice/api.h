// SLUICE_API marks what belongs to the interface: libsluice.so shows these names and no others. Nothing for a user to
// do.
#pragma once

#define SLUICE_API __attribute__((visibility("default")))
