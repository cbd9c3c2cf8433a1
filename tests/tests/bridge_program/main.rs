//! The bridge as people start it, and what players make of it: ffmpeg, GStreamer and retina. Each picture of the test pattern
//! says its number, and each sound is one that can be told from all others: nothing is missing, nothing comes twice, and both
//! fit together.

mod bridge;
mod codecs;
mod control;
mod crowd;
mod devices;
mod fallback;
mod fan;
mod ffmpeg;
mod glass;
mod gstreamer;
mod join;
mod reference;
mod retina;
mod screen;
mod sender;
mod watcher;
