//! A JACK client that plays a tone to one port and listens to another, for the tests of restarted servers.
//!
//! `jack_ear PLAY_TO LISTEN_TO` waits for the server and for both ports, and says `up` when the server is there and `heard`
//! when the first sound comes, each as a JSON object with the time since the server came up. It runs until it is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use jack::{AudioIn, AudioOut, Client, ClientOptions, Control, ProcessScope};

/// Time between two attempts.
const NAP: Duration = Duration::from_millis(2);
/// What is sound: well above what dithering or a fade leaves.
const SOUND: f32 = 0.01;

fn main() {
    jack::set_logger(jack::LoggerType::None);
    let mut arguments = std::env::args().skip(1);
    let (Some(play_to), Some(listen_to)) = (arguments.next(), arguments.next()) else {
        return eprintln!("usage: jack_ear PLAY_TO LISTEN_TO");
    };
    let client = loop {
        if let Ok((client, _)) = Client::new("ear", ClientOptions::NO_START_SERVER) {
            break client;
        }
        std::thread::sleep(NAP);
    };
    let up = Instant::now();
    println!("{{\"type\":\"up\"}}");
    let mut mouth = client.register_port("mouth", AudioOut::default()).expect("there is room for a port");
    let ear = client.register_port("ear", AudioIn::default()).expect("there is room for a port");
    let heard = Arc::new(AtomicBool::new(false));
    let flag = heard.clone();
    let mut frame = 0u32;
    let process = move |_: &Client, scope: &ProcessScope| {
        for sample in mouth.as_mut_slice(scope) {
            *sample = (frame as f32 * 0.05).sin() * 0.5;
            frame = frame.wrapping_add(1) % 100_000;
        }
        if ear.as_slice(scope).iter().any(|sample| sample.abs() > SOUND) {
            flag.store(true, Relaxed);
        }
        Control::Continue
    };
    let process = jack::contrib::ClosureProcessHandler::new(process);
    let client = client.activate_async((), process).expect("the server takes clients");
    let connect = |from: &str, to: &str| {
        let connected = client.as_client().connect_ports_by_name(from, to);
        matches!(connected, Ok(()) | Err(jack::Error::PortAlreadyConnected(..)))
    };
    while !(connect("ear:mouth", &play_to) & connect(&listen_to, "ear:ear")) {
        std::thread::sleep(NAP);
    }
    while !heard.load(Relaxed) {
        std::thread::sleep(NAP);
    }
    println!("{{\"type\":\"heard\",\"ms\":{:.1}}}", up.elapsed().as_secs_f64() * 1e3);
    loop {
        std::thread::park();
    }
}
