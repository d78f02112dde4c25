// Names for dangerous instants: between two steps of one thread, where an act of another thread hurts most. In the
// product they are nothing at all. A test compiles the file once more, in a namespace of its own, with SLUICE_INSTANT
// defined, and does at the instant what the other thread would do. Any thread passes them.
#pragma once

#ifndef SLUICE_INSTANT
#define SLUICE_INSTANT(name) static_cast<void>(0)
#endif
