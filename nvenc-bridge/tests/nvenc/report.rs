//! What is said of a machine.

use nvenc_bridge::encode::nvenc::library::Paths;
use nvenc_bridge::probe::Report;
use nvenc_double::Double;

fn report(script: &str) -> Option<(Report, serde_json::Value)> {
    let double = Double::new(script).unwrap()?;
    let report = Report::new(&Paths::within(double.folder()));
    assert_eq!(double.violations(), Vec::<String>::new());
    let json = serde_json::to_value(&report).unwrap();
    Some((report, json))
}

#[test]
fn a_machine_that_encodes_is_described_with_its_limits() {
    let Some((report, json)) = report("cards 2\ncap 19 0") else { return };
    assert!(report.usable);
    assert_eq!(report.summary, "Double 0: H.264, H.265, AV1; Double 1: H.264, H.265, AV1");
    assert_eq!(
        (json["api"].as_str(), json["api_needed"].as_str(), json["cuda"].as_str()),
        (Some("13.0"), Some("12.2"), Some("12.8"))
    );
    let codec = &json["cards"][1]["codecs"][1];
    assert_eq!(
        (codec["codec"].as_str(), codec["max_width"].as_u64(), codec["max_b_frames"].as_u64()),
        (Some("h265"), Some(4096), Some(4))
    );
    assert_eq!((codec["dynamic_size"].as_bool(), codec["ten_bit"].as_bool()), (Some(false), Some(true)));
    let text = report.to_string();
    assert!(text.contains("card 1: Double 1, compute capability 7.5: H.264, H.265, AV1"), "{text}");
    assert!(text.contains("550.54.14 or newer needed"), "{text}");
    let details = report.details();
    assert!(
        details.contains("145 × 49 to 4096 × 4096") && details.contains("size in mid-stream     no"),
        "{details}"
    );
}

#[test]
fn a_card_without_engine_is_named_and_said_to_have_none() {
    let Some((report, json)) = report("open_status 2") else { return };
    assert!(!report.usable);
    assert!(
        report.summary.starts_with("Double 0: ") && report.summary.contains("no NVENC engine"),
        "{}",
        report.summary
    );
    assert!(!report.summary.contains('\n'));
    assert_eq!(json["cards"][0]["name"], "Double 0");
    assert!(report.to_string().contains("compute capability 7.5: does not encode"));
}

#[test]
fn a_driver_that_is_too_old_still_lets_the_cards_be_named() {
    let Some((report, _)) = report("api 12.1") else { return };
    assert!(!report.usable && report.summary.contains("12.2 is needed"), "{}", report.summary);
    assert_eq!(report.cards.len(), 1);
}

#[test]
fn a_machine_without_driver_is_told_so_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let report = Report::new(&Paths::within(folder.path()));
    assert!(!report.usable && report.cards.is_empty());
    assert!(report.summary.starts_with("no NVIDIA driver on this machine"), "{}", report.summary);
}

#[test]
fn a_selftest_tries_each_codec_and_finds_what_is_wrong() {
    use nvenc_bridge::selftest::Selftest;

    let Some(double) = Double::new("").unwrap() else { return };
    let whole = Selftest::run(&Paths::within(double.folder()));
    assert_eq!(double.violations(), Vec::<String>::new());
    assert_eq!(whole.trials.len(), 15);
    let problems: Vec<_> = whole.trials.iter().filter(|trial| trial.problem.is_some()).collect();
    assert!(whole.passed(), "{problems:#?}");
    let Some(double) = Double::new("codecs hevc\nfail_at 90").unwrap() else { return };
    let broken = Selftest::run(&Paths::within(double.folder()));
    assert!(!broken.passed() && broken.trials.len() == 5);
    let problem = broken.trials[0].problem.as_deref().unwrap_or_default();
    assert!(problem.contains("the card or its driver failed"), "{problem}");
}
