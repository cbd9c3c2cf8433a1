//! What a player costs, beside gst-rtsp-server with the same bits in the same minute. A measurement:
//! `cargo test --release -p tests --test bridge_program fan -- --ignored --nocapture`, on a quiet machine.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::program::{Program, alone};

use super::bridge::{Bridge, free_port};
use super::reference::SIZE;
use super::watcher::Watcher;

const WATCHERS: usize = 200;
const SPAN: Duration = Duration::from_secs(5);
/// Each is measured so often, by turns.
const ROUNDS: usize = 3;
/// Of what gst-rtsp-server serves: longer than its measurements in a round.
const RECORDED: &str = "30";

/// Seconds of a processor that a program's threads have used.
fn used(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    // The first number is nanoseconds. A thread may end meanwhile.
    let time = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.filter_map(time).sum::<f64>() / 1e9
}

/// Seconds of a processor in a second for each who watches, beyond the first.
fn each(process: u32, port: u16, track: &str, datagrams: bool) -> f64 {
    let measure = |count: usize| {
        let watchers: Vec<_> =
            (0..count).map(|_| Watcher::begin(port, "stream", track, datagrams).drain()).collect();
        std::thread::sleep(Duration::from_secs(1));
        let (begun, before) = (Instant::now(), used(process));
        std::thread::sleep(SPAN);
        let share = (used(process) - before) / begun.elapsed().as_secs_f64();
        drop(watchers);
        share
    };
    let one = measure(1);
    (measure(WATCHERS) - one) / (WATCHERS - 1) as f64
}

#[test]
#[ignore = "a measurement"]
fn a_player_costs_so_much_here_and_with_gst_rtsp_server() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // Noise, so that an encoder has what to spend 4 Mb/s on.
    let mut noise = b"YUV4MPEG2 W320 H240 F30:1\n".to_vec();
    let mut state = 1_u32;
    for _ in 0..30 {
        noise.extend_from_slice(b"FRAME\n");
        noise.extend((0..SIZE.width * SIZE.height * 3 / 2).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            96 + (state >> 26) as u8
        }));
    }
    std::fs::write(path("noise.y4m"), noise).unwrap();
    let bridge = Bridge::start(&["--pictures", &path("noise.y4m"), "--loop", "--avg-bitrate", "4"]);
    let recorded = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", &bridge.url("stream")])
        .args(["-t", RECORDED, "-c", "copy", &path("noise.mkv")])
        .stdin(Stdio::null())
        .status();
    assert!(recorded.unwrap().success());
    let size = std::fs::metadata(path("noise.mkv")).unwrap().len() as f64;
    println!("{:.1} Mb/s", size * 8e-6 / RECORDED.parse::<f64>().unwrap());
    for (transport, datagrams) in [("UDP", true), ("TCP", false)] {
        let mut rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let ours = each(bridge.program.id(), bridge.port, "/trackID=0", datagrams);
                let (rival, port) = rival(&path("noise.mkv"));
                (ours, each(rival.id(), port, "/stream=0", datagrams))
            })
            .collect();
        for (ours, theirs) in &rounds {
            let (ours, theirs) = (100.0 * ours, 100.0 * theirs);
            println!("{transport}: {ours:.3} % of a core each, gst-rtsp-server {theirs:.3} %");
        }
        rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        let (ours, theirs) = rounds[ROUNDS / 2];
        println!("{transport}: in the median {:.1} times as many players a core", theirs / ours);
    }
}

/// gst-rtsp-server with what was recorded, from the beginning.
fn rival(recorded: &str) -> (Program, u16) {
    let port = free_port();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/rtsp.py"));
    command.args([&port.to_string(), recorded]);
    let mut rival = Program::spawn(command);
    rival.wait_for("serving");
    (rival, port)
}
