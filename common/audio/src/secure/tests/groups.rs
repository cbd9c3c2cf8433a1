//! Who sends to a multicast group with a key, and those who listen.

use super::*;

fn group() -> SocketAddr {
    ([239, 1, 2, 3], 5004).into()
}

/// Where a listener speaks from.
fn mouth(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 40_000).into()
}

/// A sender to the group, which begins shortly before its numbers go round.
fn to_group(secret: Option<Secret>, started: Mono) -> Sender {
    let mut sender = Sender::new(secret, started, 1, (RATE, FRAMES));
    let spec = EncodingSpec {
        wire: Wire::Rtp,
        codec: Codec::Pcm16,
        map: "0".parse().unwrap(),
        factor: 1.0,
        test: None,
        frames: FRAMES,
        mtu: 1200,
    };
    let client = Client::new("all".into(), group(), sender.counters[0].clone());
    let encoding = Encoding::new(EncodingId(9), spec, RATE, 0x2000, Sequence(65_000), vec![client]);
    sender.pipeline.replace(Box::new(Routing::new(vec![encoding], Vec::new())));
    sender
}

/// Carries everything both ways for so many packets, except what `lose` says; `note` sees all that is said, and who says it: the
/// sender is number 0.
fn run(
    sender: &mut Sender,
    listeners: &mut [(u8, Receiver)],
    packets: usize,
    mut lose: impl FnMut(&[u8]) -> bool,
    mut note: impl FnMut(u8, &[u8]),
) {
    for _ in 0..packets {
        let sent = sender.step();
        let now = sender.now();
        for (to, datagram) in &sent {
            note(0, datagram);
            for (number, listener) in &mut *listeners {
                if lose(datagram) {
                    continue;
                }
                if *to == group() {
                    listener.take(now.plus(MS), sender.address, datagram);
                } else if *to == mouth(*number) {
                    listener.pipeline.handle_report(now.plus(MS), sender.address, datagram);
                    listener.listen();
                }
            }
        }
        for (number, listener) in &mut *listeners {
            for (to, datagram) in listener.step(now.plus(MS)) {
                note(*number, &datagram);
                if to == sender.address {
                    sender.pipeline.handle_datagram(now.plus(2 * MS), mouth(*number), &datagram);
                }
            }
        }
    }
}

fn listener(number: u8, key: u8) -> (u8, Receiver) {
    (number, Receiver::new(number, Some(secret(key, 100 + number))))
}

#[test]
fn those_who_listen_hear_what_is_encrypted_from_a_round_trip_on() {
    let mut sender = to_group(Some(secret(1, 1)), Mono(0));
    let mut listeners = vec![listener(1, 1), listener(2, 1)];
    run(&mut sender, &mut listeners, 900, all, |_, _| {});
    // The roll-over counter of what one hears who comes late is known from the greeting.
    listeners.push(listener(3, 1));
    run(&mut sender, &mut listeners, 900, all, |_, _| {});
    assert_eq!(sender.counters[0].secrecy(), Secrecy::Encrypted);
    assert_eq!((sender.counters[0].listeners.get(), sender.counters[0].refused_reports.get()), (3, 0));
    for ((_, listener), least) in listeners.iter().zip([1780, 1780, 500]) {
        assert_eq!(listener.secrecy, [Secrecy::Encrypted]);
        assert!(listener.heard.len() > least * usize::from(FRAMES), "{} frames", listener.heard.len());
        assert!(listener.heard.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    }
}

#[test]
fn a_listener_that_misses_the_first_greeting_is_greeted_again() {
    let mut sender = to_group(Some(secret(1, 1)), Mono(0));
    let mut listeners = [listener(1, 1)];
    let mut missed = 0;
    let lose = |datagram: &[u8]| {
        let meant = find_greeting(datagram).is_some_and(|(greeting, ..)| greeting.peer != Id::default());
        missed += usize::from(meant);
        meant && missed == 1
    };
    run(&mut sender, &mut listeners, 1500, lose, |_, _| {});
    let [(_, listener)] = &listeners;
    assert!(missed == 2 && listener.packets() > 900, "{missed} greetings, {} packets", listener.packets());
}

#[test]
fn a_listener_whose_path_fails_greets_by_the_other_one_at_once() {
    const FAILS: usize = 900;
    let mut sender = to_group(Some(secret(1, 1)), Mono(0));
    let (_, mut listener) = listener(1, 1);
    let other = SocketAddr::new([198, 51, 100, 1].into(), sender.address.port());
    let paths = [(sender.address, mouth(1)), (other, mouth(2))];
    let mut first = None;
    for count in 0..FAILS + 100 {
        let now = sender.now();
        let open = match count {
            0..300 => &paths[..1],
            300..FAILS => &paths[..],
            _ => &paths[1..],
        };
        for (to, datagram) in sender.step() {
            for (from, _) in open.iter().filter(|(_, mouth)| to == group() || to == *mouth) {
                listener.take(now.plus(MS), *from, &datagram);
            }
        }
        for (to, datagram) in listener.step(now.plus(MS)) {
            if let Some((_, mouth)) = open.iter().find(|(address, _)| *address == to) {
                sender.pipeline.handle_datagram(now.plus(2 * MS), *mouth, &datagram);
            }
            if to == other {
                first.get_or_insert((count, find_greeting(&datagram).is_some()));
            }
        }
    }
    // A tenth of a second of silence are 35 packets.
    let (count, greets) = first.expect("it speaks by the other path");
    assert!(greets && (FAILS..FAILS + 40).contains(&count), "{greets} after {count} packets");
    assert_eq!(sender.counters[0].listeners.get(), 1);
}

#[test]
fn a_wrong_key_of_one_who_listens_is_named_on_both_ends() {
    for (ours, theirs, here, there) in [
        (Some(secret(1, 1)), Some(secret(2, 101)), Secrecy::WrongKey, Secrecy::WrongKey),
        (Some(secret(1, 1)), None, Secrecy::OnlyHere, Secrecy::OnlyThere),
        (None, Some(secret(1, 101)), Secrecy::OnlyThere, Secrecy::OnlyHere),
    ] {
        let mut sender = to_group(ours, Mono(0));
        let mut listeners = [(1, Receiver::new(1, theirs))];
        run(&mut sender, &mut listeners, 1500, all, |_, _| {});
        let [(_, listener)] = &listeners;
        assert_eq!((listener.packets(), listener.secrecy.last()), (0, Some(&there)));
        // Who has no key and hears nothing that it understands has nothing to say.
        if there != Secrecy::OnlyThere {
            assert_eq!(sender.counters[0].secrecy(), here);
        }
    }
}

#[test]
fn what_is_lost_of_a_group_is_repaired_under_the_key() {
    let mut sender = to_group(Some(secret(1, 1)), Mono(0));
    let mut listeners = [listener(1, 1), listener(2, 1)];
    run(&mut sender, &mut listeners, 400, all, |_, _| {});
    let mut count = 0;
    let lose = |datagram: &[u8]| {
        count += 1;
        !rtp::is_rtcp(datagram) && count % 37 == 0
    };
    run(&mut sender, &mut listeners, 1200, lose, |_, _| {});
    for (_, listener) in &listeners {
        assert!(listener.counters.retransmitted.get() > 10, "{}", listener.counters.retransmitted.get());
    }
}

#[test]
fn no_nonce_repeats_between_a_sender_and_those_who_listen() {
    let mut nonces = Nonces::default();
    // What a participant seals belongs to the id that its last greeting named, under the key that follows from it.
    let mut greetings = HashSet::new();
    let mut now = Mono(0);
    for sender_run in 1..4 {
        let mut sender = to_group(Some(secret(1, sender_run)), now);
        for round in 0..6u8 {
            let mut listeners: Vec<_> = (1..5)
                .map(|n| (n, Receiver::new(n, Some(secret(1, 30 * sender_run + 4 * round + n)))))
                .collect();
            let mut count = 0;
            let lose = |_: &[u8]| {
                count += 1;
                count % 11 == 0
            };
            run(&mut sender, &mut listeners, 800, lose, |number, datagram| {
                if number == 0 {
                    nonces.note(sender_run, datagram);
                } else if let Some((greeting, ..)) = find_greeting(datagram) {
                    let index = Control::of(datagram).unwrap().index;
                    assert!(greetings.insert((greeting.id, index)), "{index} of {:?}", greeting.id);
                }
            });
        }
        now = sender.now().plus(2_000 * MS);
    }
    assert!(nonces.seen.len() > 14_400 && greetings.len() > 100, "{} {}", nonces.seen.len(), greetings.len());
}

#[test]
fn a_recorded_listener_is_no_listener() {
    let mut sender = to_group(Some(secret(1, 1)), Mono(0));
    let mut listeners = vec![listener(1, 1)];
    let mut recorded = Vec::new();
    run(&mut sender, &mut listeners, 700, all, |number, datagram| {
        if number == 1 {
            recorded.push(datagram.to_vec());
        }
    });
    assert!(recorded.len() > 3 && sender.counters[0].listeners.get() == 1);
    let replay = |sender: &mut Sender| {
        let now = sender.now();
        recorded.iter().for_each(|datagram| sender.pipeline.handle_datagram(now, mouth(66), datagram));
    };
    replay(&mut sender);
    run(&mut sender, &mut listeners, 700, all, |_, _| {});
    assert_eq!(sender.counters[0].listeners.get(), 1, "while it listens");
    listeners.clear();
    run(&mut sender, &mut listeners, 7000, all, |_, _| {});
    assert_eq!(sender.counters[0].listeners.get(), 0);
    replay(&mut sender);
    run(&mut sender, &mut listeners, 700, all, |_, _| {});
    assert_eq!(sender.counters[0].listeners.get(), 0, "long after it has gone");
}
