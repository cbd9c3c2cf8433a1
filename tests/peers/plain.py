"""Both ends of headerless PCM as the audioStreamUDP programs speak it: 1024 mono frames of signed 16-bit
little-endian PCM in each datagram, nothing else.

    plain.py send ADDRESS PORT FILE.raw       paced at 44100 Hz
    plain.py receive PORT FRAMES FILE.raw     prints `ready`, ends after FRAMES frames
"""

import socket
import sys
import time

FRAMES = 1024
RATE = 44100
OCTETS = 2 * FRAMES


def send(address, port, path):
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sound = open(path, "rb").read()
    start = time.monotonic()
    for number, at in enumerate(range(0, len(sound), OCTETS)):
        time.sleep(max(0, start + number * FRAMES / RATE - time.monotonic()))
        link.sendto(sound[at:at + OCTETS], (address, int(port)))


def receive(port, frames, path):
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.bind(("127.0.0.1", int(port)))
    link.settimeout(20)
    print("ready", link.getsockname()[1], flush=True)
    sound = b""
    while len(sound) < 2 * int(frames):
        datagram = link.recv(65536)
        assert len(datagram) <= OCTETS, len(datagram)
        sound += datagram
    open(path, "wb").write(sound)


{"send": send, "receive": receive}[sys.argv[1]](*sys.argv[2:])
