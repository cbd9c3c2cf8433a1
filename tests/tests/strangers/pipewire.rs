//! PipeWire, which finds sessions by their announcements and announces its own. Its module of Debian's releases knows no Opus.

use super::*;
use tests::program::{has, skip};

/// It follows a sender's clock by playing faster and slower, so that a tone is steady for so many frames only. They hold no whole
/// number of periods, which alone looks like this share of impurity.
const STEADY: u32 = 2205;
const IMPURE: f64 = 1e-2;

const SERVER: &str = r#"
context.properties = {
    core.daemon = true core.name = pipewire-0
    default.clock.rate = 44100 default.clock.allowed-rates = [ 44100 ]
}
context.spa-libs = { audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }
context.modules = [
    { name = libpipewire-module-protocol-native }
    { name = libpipewire-module-metadata }
    { name = libpipewire-module-spa-node-factory }
    { name = libpipewire-module-client-node }
    { name = libpipewire-module-access args = {} }
    { name = libpipewire-module-adapter }
    { name = libpipewire-module-link-factory }
    { name = libpipewire-module-session-manager }
]
context.objects = [ {
    factory = spa-node-factory
    args = { factory.name = support.node.driver node.name = driver node.group = pipewire.dummy priority.driver = 20000 }
} ]
"#;

/// Starts the server, the module, waits for a node, and goes on; everything ends with it.
const SCRIPT: &str = r#"
export XDG_RUNTIME_DIR=$PWD HOME=$PWD
pipewire -c "$PWD/server.conf" & all=$!
trap 'kill $all' EXIT
until pw-cli info 0 >/dev/null 2>&1; do sleep 0.1; done
wireplumber & all="$all $!"
pipewire -c "$PWD/module.conf" & all="$all $!"
for node in $NODES; do
    until pw-cli ls Node | grep -q "\"$node\""; do sleep 0.1; done
done
sleep 1
"#;

/// Runs a script in a session of its own, with these modules, once these nodes are there.
fn session(folder: &Path, modules: &str, nodes: &[String], script: &str) -> Command {
    std::fs::write(folder.join("server.conf"), SERVER).unwrap();
    let module = format!(
        "context.properties = {{ }}
        context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }}
        context.modules = [
            {{ name = libpipewire-module-protocol-native }}
            {{ name = libpipewire-module-client-node }}
            {{ name = libpipewire-module-adapter }}
            {modules}
        ]"
    );
    std::fs::write(folder.join("module.conf"), module).unwrap();
    let mut command = Command::new("timeout");
    command.args(["30", "dbus-run-session", "--", "sh", "-c", &format!("{SCRIPT}\n{script}")]);
    command.current_dir(folder).env("NODES", nodes.join(" "));
    command
}

fn is_missing() -> bool {
    let missing = ["pipewire", "wireplumber", "pw-record", "pw-play", "dbus-run-session"];
    missing.into_iter().any(|program| !has(program))
}

const KINDS: [Kind; 3] = [L16_MONO, L16, L24];

#[test]
fn pipewire_finds_and_plays_what_is_announced() {
    if is_missing() {
        return skip("pipewire, wireplumber, pipewire-bin or dbus-run-session is not installed");
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let ports = KINDS.map(|_| free_ports());
    let names = ports.map(|port| format!("ours-{port}"));
    let entry = |(kind, (name, port)): (&Kind, (&String, &u16))| {
        let channels: Vec<_> = (0..kind.channels).collect();
        format!(
            r#""{name}": {{"ip": "127.0.0.1", "port": {port}, "channels": {channels:?}, "codec": "{}"}}"#,
            kind.codec
        )
    };
    let list: Vec<_> = KINDS.iter().zip(names.iter().zip(&ports)).map(entry).collect();
    let path = folder.path().join("list.json");
    std::fs::write(&path, format!("{{{}}}", list.join(","))).unwrap();
    let capture = format!("tone:{PITCH}");
    let clients = path.to_str().unwrap();
    let sender = Program::start(
        "sender",
        &[
            "--capture",
            &capture,
            "--channels",
            "2",
            "--clients",
            clients,
            "--bind",
            "127.0.0.1",
            "--sap",
            "1s",
        ],
    );
    let module =
        r#"{ name = libpipewire-module-rtp-source args = { sap.ip = "239.255.255.255" local.ifname = lo } }"#;
    let record = |(kind, name): (&Kind, &String)| {
        let Kind { channels, rate, .. } = kind;
        format!(
            "timeout -s INT 5 pw-record --target {name} -P stream.dont-remix=true --rate {rate} --channels {channels} --format s16 {name}.wav &"
        )
    };
    let script: String =
        KINDS.iter().zip(&names).map(record).chain(["sleep 6".into()]).collect::<Vec<_>>().join("\n");
    finish(session(folder.path(), module, &names, &script));
    assert!(sender.interrupt().status.success());
    for (kind, name) in KINDS.into_iter().zip(&names) {
        let sound = Sound::read(&folder.path().join(format!("{name}.wav")));
        assert_tones_within(&sound, kind, STEADY, IMPURE);
    }
}

#[test]
fn what_pipewire_announces_and_sends_is_found_and_played() {
    if is_missing() {
        return skip("pipewire, wireplumber, pipewire-bin or dbus-run-session is not installed");
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let ports = KINDS.map(|_| free_ports());
    let names = ports.map(|port| format!("theirs-{port}"));
    let receivers: Vec<_> = names
        .iter()
        .map(|name| {
            let take = folder.path().join(format!("{name}.wav"));
            let arguments = ["--sap", name, "--playback", take.to_str().unwrap(), "--exit-after-stream"];
            let mut receiver = Program::start("receiver", &arguments);
            receiver.wait_for("waiting");
            receiver
        })
        .collect();
    let module = |(kind, (name, port)): (&Kind, (&String, &u16))| {
        let format = if *kind == L24 { "S24BE" } else { "S16BE" };
        let position = if kind.channels == 1 { "MONO" } else { "FL FR" };
        format!(
            r#"{{ name = libpipewire-module-rtp-sink args = {{
                sap.ip = "239.255.255.255" local.ifname = lo net.loop = true sess.name = "{name}"
                destination.ip = "127.0.0.1" destination.port = {port}
                audio.format = {format} audio.rate = 44100 audio.channels = {} audio.position = [ {position} ]
                stream.props = {{ node.name = "{name}" }} }} }}"#,
            kind.channels
        )
    };
    let modules: Vec<_> = KINDS.iter().zip(names.iter().zip(&ports)).map(module).collect();
    let play = |(kind, name): (&Kind, &String)| {
        let tones = folder.path().join(name);
        std::fs::create_dir(&tones).unwrap();
        format!(
            "pw-play --target {name} -P stream.dont-remix=true {} &",
            write_tones(&tones, *kind, 8).display()
        )
    };
    let script: String =
        KINDS.iter().zip(&names).map(play).chain(["sleep 6".into()]).collect::<Vec<_>>().join("\n");
    finish(session(folder.path(), &modules.join("\n"), &names, &script));
    for ((kind, name), receiver) in KINDS.into_iter().zip(&names).zip(receivers) {
        let ended = receiver.wait(PATIENCE);
        assert!(ended.status.success(), "{}", ended.stderr);
        let sound = Sound::read(&folder.path().join(format!("{name}.wav")));
        assert_tones_within(&sound, kind, STEADY, IMPURE);
    }
}
