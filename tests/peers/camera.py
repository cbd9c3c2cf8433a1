"""Encodes the YUV4MPEG2 that comes in a FIFO and serves it over RTSP by gst-rtsp-server, as soon as it can, once for all who watch:
camera.py PORT FIFO KILOBITS"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, path, kilobits = sys.argv[1:]


def feed(source):
    with open(path, "rb") as camera:
        fields = {field[:1]: field[1:] for field in camera.readline().decode().split()[1:]}
        width, height, rate = int(fields["W"]), int(fields["H"]), fields["F"].replace(":", "/")
        form = f"video/x-raw,format=I420,width={width},height={height},framerate={rate}"
        source.set_property("caps", Gst.Caps.from_string(form))
        while camera.readline():
            source.emit("push-buffer", Gst.Buffer.new_wrapped(camera.read(width * height * 3 // 2)))


def configured(_factory, media):
    source = media.get_element().get_child_by_name("camera")
    threading.Thread(target=feed, args=(source,), daemon=True).start()


Gst.init(None)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( appsrc name=camera is-live=true do-timestamp=true format=time"
    f" ! openh264enc bitrate={kilobits}000 rate-control=bitrate gop-size=60 complexity=low"
    " ! rtph264pay name=pay0 config-interval=-1 )"
)
factory.set_shared(True)
factory.set_latency(0)
factory.connect("media-configure", configured)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
server.get_mount_points().add_factory("/stream", factory)
server.attach(None)
print("{\"type\": \"serving\"}", flush=True)
GLib.MainLoop().run()
