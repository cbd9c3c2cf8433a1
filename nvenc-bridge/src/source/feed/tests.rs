use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::params::Params;
use crate::picture::Size;
use crate::source::capture::{Capture, Kind};
use crate::source::frames::Framing;
use crate::source::pattern;
use crate::source::pipe::Place;
use crate::source::slot::Found;

const SIZE: &str = "YUV4MPEG2 W64 H64 F25:1 Ip A1:1 C420jpeg\n";

fn params(entries: &[(&str, &str)]) -> Params {
    let mut params = Params::default();
    for (name, value) in entries {
        params.set(name, &(*value).into()).unwrap();
    }
    params
}

fn spec(entries: &[(&str, &str)]) -> Result<Spec, String> {
    Spec::new(&params(entries))
}

/// Pictures with these counters, each behind its line.
fn y4m(numbers: &[u64]) -> Vec<u8> {
    let size = crate::picture::Size { width: 64, height: 64 };
    let mut octets = SIZE.as_bytes().to_vec();
    let mut data = Vec::new();
    for number in numbers {
        pattern::draw(size, *number, &mut data);
        octets.extend(b"FRAME\n");
        octets.extend(&data);
    }
    octets
}

fn file(folder: &Path, name: &str, octets: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, octets).unwrap();
    path
}

fn open(path: &str, more: &[(&str, &str)]) -> Result<Box<dyn Reader>, String> {
    spec(&[&[("pictures", path)], more].concat())?.open(Arc::default())
}

/// Counters of the next pictures.
fn counters(reader: &mut dyn Reader, pictures: usize) -> Vec<u32> {
    let mut data = Vec::new();
    let mut seen = Vec::new();
    while seen.len() < pictures && reader.read(&mut data, 0).unwrap() {
        seen.push(pattern::read_counter(reader.shape().size, &data).unwrap());
    }
    seen
}

#[test]
fn a_file_ends_or_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.y4m", &y4m(&[5, 6, 7]));
    let path = path.to_str().unwrap();
    let mut once = open(path, &[]).unwrap();
    assert_eq!(once.shape().rate, Some(Rate { pictures: 25, seconds: 1 }));
    assert_eq!(counters(&mut *once, 9), [5, 6, 7]);
    let mut again = open(path, &[("repeat", "on")]).unwrap();
    assert_eq!(counters(&mut *again, 7), [5, 6, 7, 5, 6, 7, 5]);
    let mut thinned = open(path, &[]).unwrap();
    assert!(thinned.read(&mut Vec::new(), 1).unwrap());
    assert_eq!(counters(&mut *thinned, 9), [7]);
}

#[test]
fn half_a_picture_at_the_end_is_left_out_and_no_picture_at_all_ends_a_loop() {
    let folder = tempfile::tempdir().unwrap();
    let whole = y4m(&[1, 2]);
    let cut = file(folder.path(), "cut.y4m", &whole[..whole.len() - 9]);
    assert_eq!(counters(&mut *open(cut.to_str().unwrap(), &[]).unwrap(), 9), [1]);
    let empty = file(folder.path(), "empty.y4m", SIZE.as_bytes());
    assert_eq!(counters(&mut *open(empty.to_str().unwrap(), &[("repeat", "on")]).unwrap(), 9), [0; 0]);
}

#[test]
fn raw_pictures_have_the_shape_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "raw", &[7; 64 * 32 * 4 * 2 + 5]);
    let more = [("rawformat", "rgba"), ("resolutionw", "64"), ("resolutionh", "32"), ("fps", "50")];
    let mut reader = open(path.to_str().unwrap(), &more).unwrap();
    assert_eq!(reader.shape().rate, Some(Rate { pictures: 50, seconds: 1 }));
    let mut data = Vec::new();
    let whole = std::iter::from_fn(|| reader.read(&mut data, 0).unwrap().then_some(data.len()));
    assert_eq!(whole.collect::<Vec<_>>(), [64 * 32 * 4; 2]);
}

#[test]
fn what_is_asked_of_a_source_that_has_no_such_thing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "a.y4m", b"nothing\n");
    let path = path.to_str().unwrap();
    for (more, words) in [
        (&[("pictures", path), ("resolutionw", "64")][..], "resolutionw: "),
        (&[("pictures", "test"), ("rawformat", "rgba")], "rawformat: "),
        (&[("pictures", "test"), ("repeat", "on")], "repeat: "),
        (&[("pictures", "-"), ("repeat", "on")], "repeat: "),
        (&[("pictures", "screen"), ("repeat", "on")], "repeat: `screen` is no file"),
        (&[("pictures", "camera:1"), ("rawformat", "rgba")], "rawformat: `camera:1`"),
        (&[("pictures", "camera"), ("resolutionh", "64")], "resolutionh: `camera` takes both"),
        (&[("pictures", "none.y4m")], "pictures: none.y4m"),
        (&[("pictures", folder.path().to_str().unwrap())], "is a folder"),
    ] {
        let error = spec(more).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    let error = open(path, &[]).err().unwrap();
    assert!(error.contains("a.y4m: it does not begin with YUV4MPEG2"), "{error}");
}

#[cfg(unix)]
#[test]
fn programs_come_and_go_at_a_socket() {
    use std::os::unix::net::UnixStream;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures");
    let name = format!("unix:{}", path.display());
    // A file that a program left behind is not in the way.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let call = {
        let path = path.clone();
        move || loop {
            if let Ok(stream) = UnixStream::connect(&path) {
                return stream;
            }
            std::thread::yield_now();
        }
    };
    let writer = std::thread::spawn(move || {
        let cut = y4m(&[1, 2]);
        drop(call());
        call().write_all(&cut[..cut.len() - 100]).unwrap();
        drop(call());
        // What is no picture is let go, at once or behind a picture.
        call().write_all(b"nonsense\n").unwrap();
        call().write_all(&[y4m(&[3]), b"nonsense\n".to_vec()].concat()).unwrap();
        call().write_all(&y4m(&[4])).unwrap();
    });
    let mut reader = open(&name, &[]).unwrap();
    assert_eq!(reader.pace(), Pacing::Arrival);
    assert_eq!(counters(&mut *reader, 3), [1, 3, 4]);
    writer.join().unwrap();
    drop(reader);
    assert!(!path.exists());
}

#[cfg(unix)]
#[test]
fn programs_come_and_go_at_a_fifo() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let name = path.to_str().unwrap().to_string();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        std::fs::write(&path, y4m(&[1, 2])).unwrap();
        wait.recv().unwrap();
        std::fs::write(&path, y4m(&[3])).unwrap();
    });
    let mut reader = open(&name, &[]).unwrap();
    assert_eq!(counters(&mut *reader, 2), [1, 2]);
    done.send(()).unwrap();
    assert_eq!(counters(&mut *reader, 1), [3]);
    writer.join().unwrap();
}

#[test]
fn programs_whose_pictures_come_without_an_end_between_them_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let both = file(folder.path(), "both.y4m", &[y4m(&[1, 2]), y4m(&[3])].concat());
    let mut reader = open(both.to_str().unwrap(), &[]).unwrap();
    assert_eq!(counters(&mut *reader, 3), [1, 2, 3]);
}

#[test]
fn a_wait_for_a_program_ends_when_all_shall_stop() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("unix:{}", folder.path().join("pictures").display());
    let stopped = Arc::new(AtomicBool::new(true));
    let error = Opened::new(&spec(&[("pictures", &name)]).unwrap(), stopped).err().unwrap();
    assert!(error.contains("there are no pictures"), "{error}");
}

#[test]
fn what_is_given_is_in_order_and_numbered_as_it_is_drawn() {
    let size = [("resolutionw", "64"), ("resolutionh", "64"), ("fps", "400")];
    let opened = Opened::new(&spec(&size).unwrap(), Arc::default()).unwrap();
    let feed = opened.begin(Rate { pictures: 400, seconds: 1 }, Arc::default()).unwrap();
    let mut last = None;
    while last < Some(20) {
        if let Found::Picture(picture) = feed.pictures.take(Duration::from_secs(5)) {
            assert!(Some(picture.number) > last);
            assert_eq!(pattern::read_counter(picture.size, &picture.data), Some(picture.number as u32));
            last = Some(picture.number);
            feed.pictures.reuse(picture);
        }
    }
}

#[test]
fn a_video_file_comes_by_ffmpeg_and_what_it_cannot_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = file(folder.path(), "a.y4m", &y4m(&[3, 4, 5]));
    let video = folder.path().join("a:b.mkv");
    let mut make = std::process::Command::new("ffmpeg");
    make.args(["-v", "error", "-i"])
        .arg(&pictures)
        .args(["-c:v", "ffv1"])
        .arg(format!("file:{}", video.display()));
    let Ok(made) = make.status() else {
        eprintln!("there is no ffmpeg to read videos with: left out");
        return;
    };
    assert!(made.success());
    let mut once = open(video.to_str().unwrap(), &[]).unwrap();
    assert_eq!(once.shape().rate, Some(Rate { pictures: 25, seconds: 1 }));
    assert_eq!(counters(&mut *once, 9), [3, 4, 5]);
    let mut again = open(video.to_str().unwrap(), &[("repeat", "on")]).unwrap();
    assert_eq!(counters(&mut *again, 7), [3, 4, 5, 3, 4, 5, 3]);
    let text = file(folder.path(), "text.mp4", b"no video");
    let error = open(text.to_str().unwrap(), &[]).err().unwrap();
    assert!(error.contains("text.mp4: ") && error.contains("Invalid data"), "{error}");
}

#[test]
fn a_camera_and_a_screen_are_asked_for_what_the_parameters_say() {
    let of = |entries: &[(&str, &str)]| match spec(entries).unwrap() {
        Spec::Octets(Place::Capture(capture), Framing::Y4m) => capture,
        other => panic!("{other:?}"),
    };
    let plain = of(&[("pictures", "screen")]);
    assert_eq!(plain, Capture { kind: Kind::Screen, device: None, size: None, rate: None });
    let more = [("pictures", "camera:1"), ("resolutionw", "640"), ("resolutionh", "480"), ("fps", "29.97")];
    let size = Some(Size { width: 640, height: 480 });
    let rate = Some(Rate { pictures: 30_000, seconds: 1001 });
    assert_eq!(of(&more), Capture { kind: Kind::Camera, device: Some("1".into()), size, rate });
}

#[cfg(target_os = "linux")]
#[test]
fn a_camera_or_screen_that_is_not_there_says_which_to_name() {
    let installed = std::process::Command::new("ffmpeg").arg("-version").output().is_ok();
    for (name, advice) in [
        ("camera:/nonexistent", "name a camera that is there"),
        ("screen::987", "name an X11 display that lets us in"),
    ] {
        let error = open(name, &[]).err().unwrap();
        let words = if installed { advice } else { "need an installed ffmpeg" };
        assert!(error.starts_with(&format!("{name}: ")) && error.contains(words), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
