//! Encrypted packets: no octets that were not sealed are opened, whatever the key's holder is asked; what is sealed is opened
//! as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::srtp::{
    CONTROL_OVERHEAD, Direction, FileKey, Id, MAX_CONTROL_INDEX, MAX_INDEX, OVERHEAD, Session, Signed, Suite,
};

fuzz_target!(|input: (u64, bool, &[u8])| {
    let (index, encrypt, datagram) = input;
    let (index, control) = (index % MAX_INDEX, index as u32 % MAX_CONTROL_INDEX);
    let key = FileKey([1; 32]);
    let session = Session::new(&key.master(Suite::Aes128, Id([2; 16]), Direction::FromSender, b"fuzz"));
    let _ = Signed::find(datagram);
    assert!(session.open(&mut datagram.to_vec(), index).is_err());
    assert!(session.open_control(&mut datagram.to_vec()).is_err());

    let mut packet = [datagram, &[0; CONTROL_OVERHEAD]].concat();
    if packet.len() >= 4 {
        packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    }
    let plain = packet.clone();
    let length = datagram.len();
    if let Some(sealed) = session.seal(&mut packet, length, index) {
        assert_eq!(sealed, length + OVERHEAD);
        assert_eq!(session.open(&mut packet[..sealed], index), Ok(length));
        assert_eq!(packet[..length], plain[..length]);
    }
    packet.copy_from_slice(&plain);
    if let Some(sealed) = session.seal_control(&mut packet, length, control, encrypt) {
        assert_eq!(session.open_control(&mut packet[..sealed]), Ok(length));
        assert_eq!(packet[..length], plain[..length]);
    }
});
