use std::time::Duration;

use super::*;

fn picture(format: Format, width: u32, height: u32, data: Vec<u8>) -> Picture {
    Picture { format, size: Size { width, height }, data, at: Duration::ZERO, number: 0 }
}

/// Known answers of BT.709, limited range, from the Recommendation's equations.
const COLOURS: [([u8; 3], [u8; 3]); 6] = [
    ([255, 255, 255], [235, 128, 128]),
    ([0, 0, 0], [16, 128, 128]),
    ([255, 0, 0], [63, 102, 240]),
    ([0, 255, 0], [173, 42, 26]),
    ([0, 0, 255], [32, 240, 118]),
    ([128, 128, 128], [126, 128, 128]),
];

#[test]
fn colours_become_what_the_recommendation_says() {
    let size = Size { width: 4, height: 2 };
    for ([r, g, b], [y, u, v]) in COLOURS {
        let mut scratch = Vec::new();
        for (format, pixel) in [(Format::Rgba, [r, g, b, 7]), (Format::Bgra, [b, g, r, 7])] {
            let picture = picture(format, 4, 2, pixel.repeat(8));
            let expected = [vec![y; 8], vec![u; 2], vec![v; 2]].concat();
            assert_eq!(i420(&picture, size, &mut scratch).unwrap(), expected, "{r} {g} {b}");
            let expected = [vec![y; 8], vec![u, v, u, v]].concat();
            assert_eq!(nv12(&picture, size, &mut scratch).unwrap(), expected, "{r} {g} {b}");
        }
    }
}

#[test]
fn planes_change_their_order_and_nothing_else() {
    let size = Size { width: 4, height: 2 };
    let planar: Vec<u8> = (0..8).chain([100, 101, 200, 201]).collect();
    let pairs: Vec<u8> = (0..8).chain([100, 200, 101, 201]).collect();
    let words: Vec<u8> = pairs.iter().flat_map(|octet| [0, *octet]).collect();
    let mut scratch = Vec::new();
    for (format, data) in [(Format::I420, &planar), (Format::Nv12, &pairs), (Format::P010, &words)] {
        let picture = picture(format, 4, 2, data.clone());
        assert_eq!(i420(&picture, size, &mut scratch).unwrap(), planar, "{format:?}");
        assert_eq!(nv12(&picture, size, &mut scratch).unwrap(), pairs, "{format:?}");
    }
}

#[test]
fn ten_bits_are_rounded_to_eight_and_never_wrap() {
    for (word, octet) in [(0x0000, 0), (0x0080, 1), (0x0040, 0), (0x4000, 64), (0xFFC0, 255), (0xFFFF, 255)] {
        assert_eq!(eight(&u16::to_le_bytes(word)), octet, "{word:#06x}");
    }
}

#[test]
fn an_odd_picture_loses_its_last_column_and_row() {
    let luma: Vec<u8> = (0..15).collect();
    let data = [luma, vec![50, 51, 52, 53, 54, 55], vec![60, 61, 62, 63, 64, 65]].concat();
    let picture = picture(Format::I420, 5, 3, data);
    let mut scratch = Vec::new();
    let cut = i420(&picture, Size { width: 4, height: 2 }, &mut scratch).unwrap();
    assert_eq!(cut, [0, 1, 2, 3, 5, 6, 7, 8, 50, 51, 60, 61]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut scratch = Vec::new();
    let small = picture(Format::I420, 4, 2, vec![0; 12]);
    for (width, height) in [(6, 2), (4, 4), (3, 2), (0, 0)] {
        let size = Size { width, height };
        assert_eq!(i420(&small, size, &mut scratch), Err(Error::Size { from: small.size, to: size }));
    }
    let short = picture(Format::Rgba, 4, 2, vec![0; 31]);
    assert_eq!(nv12(&short, short.size, &mut scratch), Err(Error::Octets { found: 31, expected: 32 }));
}
