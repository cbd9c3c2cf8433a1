"""Serves a Matroska file of H.264 over RTSP by gst-rtsp-server, once for all who watch: rtsp.py PORT FILE"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, path = sys.argv[1:]
Gst.init(None)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( filesrc location={path} ! matroskademux ! h264parse ! rtph264pay name=pay0 config-interval=-1 )")
factory.set_shared(True)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
server.get_mount_points().add_factory("/stream", factory)
server.attach(None)
print("{\"type\": \"serving\"}", flush=True)
GLib.MainLoop().run()
