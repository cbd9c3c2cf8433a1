//! A camera or a screen, as an installed ffmpeg is asked for it.

use crate::picture::{Rate, Size};

/// What is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a camera sees.
    Camera,
    /// What a screen shows.
    Screen,
}

/// A camera or a screen, and how its pictures are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Which of both.
    pub kind: Kind,
    /// Its name as ffmpeg has it on this system; without one, that which comes first.
    pub device: Option<String>,
    /// What its pictures are scaled to, and what a camera is asked for; their own without.
    pub size: Option<Size>,
    /// Pictures a second that the device is asked for; its own without.
    pub rate: Option<Rate>,
}

impl Kind {
    /// What `camera`, `screen:DISPLAY` and their like name, with the device.
    pub fn named(name: &str) -> Option<(Self, Option<String>)> {
        let (kind, device) = name.split_once(':').unwrap_or((name, ""));
        let kind = match kind {
            "camera" => Self::Camera,
            "screen" => Self::Screen,
            _ => return None,
        };
        Some((kind, Some(device.to_owned()).filter(|device| !device.is_empty())))
    }
}

impl Capture {
    /// The input's arguments for an ffmpeg on a system of this name (as of [`std::env::consts::OS`]), where X11 shows on `display`.
    ///
    /// # Errors
    /// One line: a device has to be named on this system.
    pub fn input(&self, system: &str, display: Option<&str>) -> Result<Vec<String>, String> {
        let device = self.device.as_deref();
        let (format, device) = match (self.kind, system) {
            (Kind::Camera, "macos") => ("avfoundation", format!("{}:none", device.unwrap_or("default"))),
            (Kind::Screen, "macos") => {
                ("avfoundation", format!("Capture screen {}:none", device.unwrap_or("0")))
            }
            (Kind::Camera, "windows") => {
                let device = device.ok_or_else(|| format!("camera: {}", self.advice(system)))?;
                ("dshow", format!("video={device}"))
            }
            (Kind::Screen, "windows") => ("gdigrab", device.unwrap_or("desktop").into()),
            (Kind::Camera, _) => ("v4l2", device.unwrap_or("/dev/video0").into()),
            (Kind::Screen, _) => ("x11grab", device.or(display).unwrap_or(":0").into()),
        };
        let mut arguments = vec!["-f".into(), format.into()];
        // Unasked, avfoundation wants 30000/1001 a second, which the cameras of Macs refuse.
        let usual = (format == "avfoundation").then_some(Rate { pictures: 30, seconds: 1 });
        if let Some(Rate { pictures, seconds }) = self.rate.or(usual) {
            arguments.extend(["-framerate".into(), format!("{pictures}/{seconds}")]);
        }
        match (self.kind, self.size) {
            // A screen would be cut to it instead.
            (Kind::Camera, Some(Size { width, height })) => {
                arguments.extend(["-video_size".into(), format!("{width}x{height}")]);
            }
            // The other systems show the pointer unasked.
            (Kind::Screen, _) if system == "macos" => {
                arguments.extend(["-capture_cursor".into(), "1".into()]);
            }
            _ => {}
        }
        arguments.extend(["-i".into(), device]);
        Ok(arguments)
    }

    /// What to do where a system of this name does not give its pictures.
    pub fn advice(&self, system: &str) -> &'static str {
        match (self.kind, system) {
            (Kind::Camera, "macos") => {
                "allow the camera in the system's settings, or name another, camera:NUMBER, of those of \
                 `ffmpeg -f avfoundation -list_devices true -i \"\"`"
            }
            (Kind::Screen, "macos") => {
                "allow screen recording in the system's settings, or name another, screen:NUMBER, from 0"
            }
            (Kind::Camera, "windows") => {
                "name one, camera:NAME, of those of `ffmpeg -f dshow -list_devices true -i dummy`"
            }
            (Kind::Screen, "windows") => "name the desktop, screen, or a window, screen:title=TITLE",
            (Kind::Camera, _) => "name a camera that is there and that nobody uses: camera:/dev/videoNUMBER",
            (Kind::Screen, _) => "name an X11 display that lets us in: screen::NUMBER",
        }
    }
}

impl std::fmt::Display for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.kind {
            Kind::Camera => "camera",
            Kind::Screen => "screen",
        })?;
        self.device.as_ref().map_or(Ok(()), |device| write!(f, ":{device}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, asked: bool, system: &str) -> Result<String, String> {
        let (kind, device) = Kind::named(name).unwrap();
        let size = asked.then_some(Size { width: 640, height: 480 });
        let rate = asked.then_some(Rate { pictures: 30_000, seconds: 1001 });
        let capture = Capture { kind, device, size, rate };
        assert_eq!(capture.to_string(), name);
        capture.input(system, Some(":7")).map(|arguments| arguments.join(" "))
    }

    #[test]
    fn a_device_stands_behind_a_colon_and_may_hold_more_of_them() {
        assert_eq!(Kind::named("camera"), Some((Kind::Camera, None)));
        assert_eq!(Kind::named("screen:"), Some((Kind::Screen, None)));
        assert_eq!(Kind::named("screen::1.0+8,9"), Some((Kind::Screen, Some(":1.0+8,9".into()))));
        assert_eq!(Kind::named("camera:@a:b"), Some((Kind::Camera, Some("@a:b".into()))));
        for name in ["cameras", "camera.mp4", "./screen", "unix:screen", ""] {
            assert_eq!(Kind::named(name), None, "{name}");
        }
    }

    #[test]
    fn each_system_has_its_cameras_and_screens_by_its_own_means() {
        for (name, asked, system, arguments) in [
            ("camera", false, "linux", "-f v4l2 -i /dev/video0"),
            (
                "camera:/dev/video2",
                true,
                "linux",
                "-f v4l2 -framerate 30000/1001 -video_size 640x480 -i /dev/video2",
            ),
            ("screen", false, "linux", "-f x11grab -i :7"),
            ("screen::1", true, "freebsd", "-f x11grab -framerate 30000/1001 -i :1"),
            ("camera", false, "macos", "-f avfoundation -framerate 30/1 -i default:none"),
            (
                "camera:1",
                true,
                "macos",
                "-f avfoundation -framerate 30000/1001 -video_size 640x480 -i 1:none",
            ),
            (
                "screen:1",
                true,
                "macos",
                "-f avfoundation -framerate 30000/1001 -capture_cursor 1 -i Capture screen 1:none",
            ),
            ("camera:HD Cam", false, "windows", "-f dshow -i video=HD Cam"),
            ("screen", true, "windows", "-f gdigrab -framerate 30000/1001 -i desktop"),
            ("screen:title=Notes", false, "windows", "-f gdigrab -i title=Notes"),
        ] {
            assert_eq!(input(name, asked, system).unwrap(), arguments, "{name} on {system}");
        }
        assert!(input("camera", false, "windows").unwrap_err().starts_with("camera: name one, camera:NAME"));
    }
}
