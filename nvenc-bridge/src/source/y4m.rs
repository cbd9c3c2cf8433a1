//! YUV4MPEG2: a line that describes pictures, and a line before each.

use super::Shape;
use crate::params::rules::reduced;
use crate::picture::{Format, Rate, Size};

/// How a stream of pictures begins.
pub const MAGIC: &[u8] = b"YUV4MPEG2 ";
/// How the line before a picture begins.
pub const FRAME: &[u8] = b"FRAME";
/// Octets of a line at most; programs write fewer than a hundred.
pub const LINE: usize = 1024;

/// Reads the first line, without its end.
///
/// # Errors
/// What it lacks, or what kind of pictures is not taken and how to convert it; one line.
pub fn header(line: &[u8]) -> Result<Shape, String> {
    let fields = line.strip_prefix(MAGIC).ok_or("it does not begin with YUV4MPEG2")?;
    let fields = str::from_utf8(fields).map_err(|_| "its first line is not text")?;
    let (mut width, mut height, mut rate, mut pixel) = (None, None, None, (1, 1));
    for field in fields.split(' ').filter(|field| !field.is_empty()) {
        let (key, value) =
            field.split_at_checked(1).ok_or("its first line holds letters that are no keys")?;
        match key {
            "W" => width = value.parse().ok(),
            "H" => height = value.parse().ok(),
            "F" => rate = Some(pair(value).ok_or_else(|| format!("`{field}` is not a picture rate"))?),
            "A" => pixel = pair(value).ok_or_else(|| format!("`{field}` is not the shape of a pixel"))?,
            "I" if !matches!(value, "p" | "?") => {
                return Err("its pictures are interlaced: convert them, with ffmpeg by -vf yadif".into());
            }
            "C" if !matches!(value, "420" | "420jpeg" | "420mpeg2" | "420paldv") => {
                return Err(format!(
                    "its pictures are of the kind C{value}: convert them, with ffmpeg by -pix_fmt yuv420p"
                ));
            }
            "X" if value == "COLORRANGE=FULL" => {
                return Err(
                    "its colours are of full range: convert them, with ffmpeg by -vf scale=out_range=tv"
                        .into(),
                );
            }
            _ => {}
        }
    }
    let side = |side: Option<u32>| side.filter(|side| (1..=16_384).contains(side));
    let size = match (side(width), side(height)) {
        (Some(width), Some(height)) => Size { width, height },
        _ => return Err("its width or height is missing or beyond 16384".into()),
    };
    let rate = match rate {
        None | Some((0, _) | (_, 0)) => None,
        Some((pictures, seconds)) => {
            let (pictures, seconds) = reduced(pictures, seconds);
            let hertz = f64::from(pictures) / f64::from(seconds);
            if !(0.1..=1000.0).contains(&hertz) {
                return Err(format!("{hertz} pictures a second are beyond 0.1 to 1000"));
            }
            Some(Rate { pictures, seconds })
        }
    };
    Ok(Shape { format: Format::I420, size, rate, aspect: aspect(size, pixel) })
}

/// Shape of the whole picture, where its pixels are not square.
fn aspect(size: Size, (wide, high): (u32, u32)) -> Option<(u32, u32)> {
    let unknown = wide == 0 || high == 0 || wide == high;
    let width = wide.checked_mul(size.width)?;
    let height = high.checked_mul(size.height)?;
    (!unknown).then(|| reduced(width, height))
}

fn pair(text: &str) -> Option<(u32, u32)> {
    let (first, second) = text.split_once(':')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ffmpeg_writes_is_read() {
        let line = b"YUV4MPEG2 W720 H576 F30000:1001 Ip A16:11 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED";
        let shape = header(line).unwrap();
        assert_eq!(shape.size, Size { width: 720, height: 576 });
        assert_eq!(shape.rate, Some(Rate { pictures: 30_000, seconds: 1001 }));
        assert_eq!((shape.format, shape.aspect), (Format::I420, Some((20, 11))));
        let plain = header(b"YUV4MPEG2 W2 H2 F0:0 A0:0").unwrap();
        assert_eq!((plain.rate, plain.aspect), (None, None));
        assert_eq!(header(b"YUV4MPEG2 W2 H2 F50:2").unwrap().rate, Some(Rate { pictures: 25, seconds: 1 }));
    }

    #[test]
    fn what_is_not_taken_is_said_with_what_to_do() {
        for (line, words) in [
            ("YUV4MPEG W2 H2", "YUV4MPEG2"),
            ("YUV4MPEG2 W2", "width or height"),
            ("YUV4MPEG2 W0 H2", "width or height"),
            ("YUV4MPEG2 W99999 H2", "width or height"),
            ("YUV4MPEG2 W2 H2 F1", "`F1` is not a picture rate"),
            ("YUV4MPEG2 W2 H2 F1:1000", "beyond 0.1 to 1000"),
            ("YUV4MPEG2 W2 H2 It", "yadif"),
            ("YUV4MPEG2 W2 H2 C422", "C422"),
            ("YUV4MPEG2 W2 H2 C420p10", "yuv420p"),
            ("YUV4MPEG2 W2 H2 XCOLORRANGE=FULL", "full range"),
            ("YUV4MPEG2 W2 H2 é", "no keys"),
        ] {
            let error = header(line.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
