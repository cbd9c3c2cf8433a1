//! Figures of many runs: what they are at a share of them, and what is wrong with them.

/// The values, ascending.
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The value that a share of all, from 0 to 1, does not exceed; no number where there is none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted.get(((sorted.len().saturating_sub(1)) as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

/// The texts of what is bad; empty where nothing is.
pub fn complain(complaints: &[(bool, String)]) -> String {
    complaints.iter().filter(|(bad, _)| *bad).map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ")
}

/// Asserts that nothing was complained of.
pub fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A table of these lines, which come with complaints and are printed as they come, and all complaints.
pub fn table(head: &str, lines: impl Iterator<Item = (String, Vec<String>)>) -> (String, Vec<String>) {
    let (mut text, mut complaints) = (format!("{head}\n"), Vec::new());
    for (line, missed) in lines {
        println!("{line}");
        text += &(line + "\n");
        complaints.extend(missed);
    }
    (text, complaints)
}

/// Writes a table to the path that a variable of the environment names, if it does.
pub fn keep(variable: &str, table: &str) {
    if let Some(path) = std::env::var_os(variable) {
        std::fs::write(path, table).expect("the table can be written");
    }
}
