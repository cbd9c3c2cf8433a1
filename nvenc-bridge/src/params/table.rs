//! All parameters, in the order of the pages.

use super::parameter::Kind::{Float, Int, Menu, Pulse, Text, Toggle};
use super::parameter::Page::{self, Audio, Both, Own, Video};
use super::parameter::{Kind, Parameter, Standing};

/// A row that does what its page says.
const fn row(
    page: Page,
    (name, flag, label): (&'static str, &'static str, &'static str),
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Parameter {
    Parameter { name, flag, label, help, page, kind, default, standing: Standing::Here, live: false }
}

/// A row of a part that comes later.
const fn later(
    page: Page,
    (name, flag, label): (&'static str, &'static str, &'static str),
    kind: Kind,
    default: &'static str,
    part: &'static str,
) -> Parameter {
    let standing = Standing::Later(part);
    Parameter { name, flag, label, help: part, page, kind, default, standing, live: false }
}

/// A row that is for TouchDesigner's own windows.
const fn elsewhere(page: Page, name: &'static str, label: &'static str) -> Parameter {
    let help = "Does nothing here";
    let standing = Standing::Elsewhere;
    Parameter { name, flag: name, label, help, page, kind: Text, default: "", standing, live: false }
}

impl Parameter {
    const fn live(mut self) -> Self {
        self.live = true;
        self
    }
}

const RTMP: &str = "RTMP, which this version does not send";
const TRANSPORT_STREAM: &str = "MPEG-TS over SRT, which this version does not send";
const PUBLISHING: &str = "RTMP and SRT, which this version does not send";
const WEBRTC: &str = "WebRTC, which this version does not speak";
const METADATA: &str = "metadata of each picture, which this version does not send";
const SHAPING: &str =
    "shaping of pictures, which this version does not do: give it pictures as they are to be sent";

/// Every parameter there is.
pub static TABLE: &[Parameter] = &[
    row(
        Own,
        ("operator", "operator", "Operator"),
        Menu(&[("videostreamout", "Video Stream Out"), ("audiostreamout", "Audio Stream Out")]),
        "videostreamout",
        "What is streamed: pictures, with or without sound, or sound alone",
    ),
    row(
        Own,
        ("pictures", "pictures", "Pictures"),
        Text,
        "test",
        "Where pictures come from: test, FILE.y4m, `-` for standard input, a FIFO, unix:PATH; by an installed ffmpeg a video file, camera[:DEVICE], screen[:DISPLAY]",
    ),
    row(
        Own,
        ("rawformat", "raw-format", "Raw Format"),
        Menu(&[("i420", "I420"), ("nv12", "NV12"), ("p010", "P010"), ("rgba", "RGBA"), ("bgra", "BGRA")]),
        "",
        "How pixels lie in pictures without a header, of --width and --height; without it, pipes and sockets bring YUV4MPEG2",
    ),
    row(Own, ("repeat", "loop", "Loop"), Toggle, "0", "Start a file again at its end"),
    row(
        Own,
        ("encoder", "encoder", "Encoder"),
        Menu(&[
            ("auto", "NVENC where there is one, else software"),
            ("nvenc", "NVENC or nothing"),
            ("openh264", "openh264"),
            ("x264", "x264"),
            ("x265", "x265"),
            ("svtav1", "SVT-AV1"),
        ]),
        "auto",
        "What encodes pictures",
    ),
    row(
        Both,
        ("active", "active", "Active"),
        Toggle,
        "1",
        "Serve the stream; a port without active streams is not held",
    )
    .live(),
    row(
        Both,
        ("mode", "mode", "Mode"),
        Menu(&[
            ("rtspserver", "RTSP Server"),
            ("rtmpsender", "RTMP Sender"),
            ("srt", "SRT"),
            ("webrtc", "WebRTC"),
            ("rtsp", "RTSP, as Audio Stream Out calls it"),
        ]),
        "",
        "How the stream leaves [default: the RTSP server]",
    ),
    row(
        Both,
        ("port", "port", "Network Port"),
        Int(1, 65_535),
        "8554",
        "Port of the RTSP server; streams of different names share it",
    ),
    row(
        Both,
        ("streamname", "stream-name", "Stream Name"),
        Text,
        "stream",
        "What stands behind the `/` of the stream's address",
    ),
    row(
        Both,
        ("multicast", "multicast", "Multi-Cast"),
        Toggle,
        "0",
        "Send to a multicast group, once for all, where a player does not ask otherwise",
    ),
    row(
        Own,
        ("group", "group", "Group"),
        Text,
        "",
        "ADDRESS or ADDRESS:PORT of the multicast group [default: one that the stream's name decides]",
    ),
    row(
        Own,
        ("ttl", "ttl", "Time to Live"),
        Int(0, 255),
        "1",
        "Networks that the group's datagrams may cross; 1 keeps them on the local one, 0 on this machine",
    ),
    later(Video, ("url", "url", "Destination URL"), Text, "", PUBLISHING),
    row(
        Video,
        ("forceidr", "force-idr", "Force IDR"),
        Pulse,
        "0",
        "Make a key picture now; asked for while the stream runs",
    )
    .live(),
    row(
        Video,
        ("fps", "fps", "FPS"),
        Float(1.0, 480.0),
        "",
        "Pictures a second; 29.97 and its like mean 30000/1001 [default: the source's own, else 30]",
    )
    .live(),
    row(
        Video,
        ("videocodec", "video-codec", "Video Codec"),
        Menu(&[("h264", "H.264"), ("h265", "H.265/HEVC"), ("av1", "AV1")]),
        "h264",
        "How pictures are coded",
    ),
    row(
        Video,
        ("profile", "profile", "Profile"),
        Menu(&[("baseline", "Baseline"), ("main", "Main"), ("high", "High")]),
        "high",
        "Tools of H.264 that the decoder has to know",
    ),
    row(
        Video,
        ("quality", "quality", "Quality"),
        Menu(&[
            ("lowlatencylow", "Low-Latency, Low Quality"),
            ("lowlatencymedium", "Low-Latency, Medium Quality"),
            ("lowlatencyhigh", "Low-Latency, High Quality"),
            ("highlatencylow", "High-Latency, Low Quality"),
            ("highlatencyhigh", "High-Latency, High Quality"),
            ("highlatencyultrahigh", "High-Latency, Ultra High Quality"),
        ]),
        "lowlatencymedium",
        "Speed against quality, latency against both",
    ),
    row(
        Video,
        ("keyframeinterval", "keyframe-interval", "Keyframe Interval"),
        Int(1, 100_000),
        "60",
        "Pictures from one key picture to the next: length of the GOP and interval of IDRs",
    ),
    row(
        Video,
        ("maxbframes", "max-b-frames", "Max B-Frames"),
        Int(0, 16),
        "0",
        "Bi-directional pictures in a row, at most: fewer bits, more latency",
    ),
    row(
        Video,
        ("intrarefreshperiod", "intra-refresh-period", "Intra-Refresh Period"),
        Int(0, 100_000),
        "0",
        "Pictures from one gradual refresh to the next, instead of key pictures; 0 for none",
    ),
    row(
        Video,
        ("intrarefreshlength", "intra-refresh-length", "Intra-Refresh Length"),
        Int(0, 100_000),
        "0",
        "Pictures over which a refresh is spread, less than the period; 0 for the whole period",
    ),
    row(
        Video,
        ("bitratemode", "bitrate-mode", "Bitrate Mode"),
        Menu(&[
            ("constant", "Constant (CBR)"),
            ("variable", "Variable (VBR)"),
            ("constanthq", "Constant HQ (CBR)"),
            ("variablehq", "Variable HQ (VBR)"),
        ]),
        "constant",
        "How bits are spent over time",
    ),
    row(
        Video,
        ("avgbitrate", "avg-bitrate", "Average Bitrate (Mb/s)"),
        Float(0.01, 4_294.0),
        "4",
        "Megabits a second",
    )
    .live(),
    row(
        Video,
        ("maxbitrate", "max-bitrate", "Max Bitrate (Mb/s)"),
        Float(0.01, 4_294.0),
        "",
        "Megabits a second that the variable modes stay below [default: twice the average]",
    )
    .live(),
    row(
        Video,
        ("numslices", "num-slices", "Num H264 Slices per Frame"),
        Int(1, 32),
        "1",
        "Pieces of each picture, for decoders that decode several at once; tiles with AV1",
    ),
    later(Video, ("forcemuxrate", "force-mux-rate", "Mux Rate (Mb/s)"), Toggle, "0", TRANSPORT_STREAM),
    later(Video, ("muxrate", "mux-rate", "Mux Rate (Mb/s)"), Float(0.01, 4_294.0), "", TRANSPORT_STREAM),
    row(
        Video,
        ("forcevbvbufsize", "force-vbv-buf-size", "VBV Buffer Size (Mb)"),
        Toggle,
        "0",
        "Set the decoder's buffer by --vbv-buf-size",
    ),
    row(
        Video,
        ("vbvbufsize", "vbv-buf-size", "VBV Buffer Size (Mb)"),
        Float(0.001, 4_294.0),
        "",
        "Megabits of the decoder's buffer [default: one picture's share with the low-latency qualities, else the encoder's choice]",
    ),
    later(Video, ("forcertmpbufsize", "force-rtmp-buf-size", "RTMP Buffer Size (S)"), Toggle, "0", RTMP),
    later(Video, ("rtmpbufsize", "rtmp-buf-size", "RTMP Buffer Size (S)"), Float(0.0, 3600.0), "", RTMP),
    row(
        Both,
        ("audiochop", "audio", "Audio CHOP"),
        Text,
        "",
        "Where sound comes from: rtp://ADDRESS:PORT, FILE.sdp, tone, silence, FILE.wav, `-`, a sound card [default: no sound; Audio Stream Out needs one]",
    ),
    row(
        Both,
        ("audiocodec", "audio-codec", "Audio Codec"),
        Menu(&[
            ("mp3", "MP3"),
            ("aac", "AAC"),
            ("opus", "Opus"),
            ("l16", "Linear PCM of 16 bits, for RTSP alone"),
        ]),
        "mp3",
        "How sound is coded; MP3 and AAC have two channels",
    ),
    row(
        Both,
        ("audiobitrate", "audio-bitrate", "Audio Bit Rate"),
        Menu(&[
            ("b96", "96 kb/s"),
            ("b128", "128 kb/s"),
            ("b192", "192 kb/s"),
            ("b256", "256 kb/s"),
            ("b320", "320 kb/s"),
        ]),
        "b128",
        "Bits a second of sound, all channels together",
    ),
    row(
        Video,
        ("includesilentaudio", "include-silent-audio", "Include Silent Audio Stream"),
        Menu(&[("automatic", "Automatic: with RTMP, where there is no sound"), ("on", "On"), ("off", "Off")]),
        "automatic",
        "A silent track where there is no sound",
    ),
    later(
        Video,
        ("perframemetadata", "per-frame-metadata", "Per-Frame Metadata CHOP/DAT"),
        Text,
        "",
        METADATA,
    ),
    later(Both, ("webrtc", "webrtc", "WebRTC"), Text, "", WEBRTC),
    later(Both, ("webrtcconnection", "webrtc-connection", "WebRTC Connection"), Text, "", WEBRTC),
    later(Video, ("webrtcvideotrack", "webrtc-video-track", "WebRTC Video Track"), Text, "", WEBRTC),
    later(Video, ("webrtcaudiotrack", "webrtc-audio-track", "WebRTC Audio Track"), Text, "", WEBRTC),
    later(Audio, ("webrtctrack", "webrtc-track", "WebRTC Track"), Text, "", WEBRTC),
    later(
        Video,
        ("outputresolution", "output-resolution", "Output Resolution"),
        Menu(&[
            ("useinput", "Use Input"),
            ("eighth", "Eighth"),
            ("quarter", "Quarter"),
            ("half", "Half"),
            ("2x", "2X"),
            ("4x", "4X"),
            ("8x", "8X"),
            ("fit", "Fit Resolution"),
            ("limit", "Limit Resolution"),
            ("custom", "Custom Resolution"),
        ]),
        "useinput",
        SHAPING,
    ),
    row(
        Video,
        ("resolutionw", "width", "Resolution W"),
        Int(16, 16_384),
        "1280",
        "Width of the test pattern, of pictures without a header, and for cameras and screens to be brought to, in pixels",
    ),
    row(Video, ("resolutionh", "height", "Resolution H"), Int(16, 16_384), "720", "Height of the same"),
    elsewhere(Video, "resmenu", "Resolution Menu"),
    later(Video, ("resmult", "res-mult", "Use Global Res Multiplier"), Toggle, "0", SHAPING),
    row(
        Video,
        ("outputaspect", "output-aspect", "Output Aspect"),
        Menu(&[
            ("useinput", "Use Input"),
            ("resolution", "Resolution: pixels are square"),
            ("custom", "Custom Aspect"),
        ]),
        "useinput",
        "The shape that players give the picture",
    ),
    row(
        Video,
        ("aspect1", "aspect-width", "Aspect1"),
        Float(0.001, 65_535.0),
        "16",
        "Width to height of a custom aspect: the width",
    ),
    row(Video, ("aspect2", "aspect-height", "Aspect2"), Float(0.001, 65_535.0), "9", "The height"),
    elsewhere(Video, "armenu", "Aspect Menu"),
    later(
        Video,
        ("inputfiltertype", "input-filter-type", "Input Smoothness"),
        Menu(&[("nearest", "Nearest Pixel"), ("linear", "Interpolate Pixels"), ("mipmap", "Mipmap Pixels")]),
        "linear",
        SHAPING,
    ),
    elsewhere(Video, "fillmode", "Fill Viewer"),
    elsewhere(Video, "filtertype", "Viewer Smoothness"),
    later(Video, ("npasses", "n-passes", "Passes"), Int(1, 1_000), "1", SHAPING),
    later(Video, ("chanmask", "chan-mask", "Channel Mask"), Text, "rgba", SHAPING),
    later(Video, ("format", "format", "Pixel Format"), Menu(super::pixels::FORMATS), "useinput", SHAPING),
    elsewhere(Audio, "timeslice", "Time Slice"),
    elsewhere(Audio, "scope", "Scope"),
    elsewhere(Audio, "srselect", "Sample Rate Match"),
    elsewhere(Audio, "exportmethod", "Export Method"),
    elsewhere(Audio, "autoexportroot", "Export Root"),
    elsewhere(Audio, "exporttable", "Export Table"),
    elsewhere(Audio, "commonrenamefrom", "Rename from"),
    elsewhere(Audio, "commonrenameto", "Rename to"),
];

/// The parameter of this name.
pub fn find(name: &str) -> Option<&'static Parameter> {
    TABLE.iter().find(|parameter| parameter.name == name)
}
