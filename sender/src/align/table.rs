//! What was heard, as a table: distances, and the delays that make up for them.

use control::client::Client;
use control::delay::{Delay, SPEED_OF_SOUND};
use serde_json::{Value, json};

use super::turns::Heard;

pub(super) struct Table {
    rows: Vec<Row>,
    /// The speaker that distances are told from.
    from: Option<String>,
}

struct Row {
    name: String,
    heard: Heard,
    /// From the stream to the microphone, in milliseconds.
    arrival: Option<f64>,
    /// Of air, further away than the reference.
    metres: Option<f64>,
    /// Milliseconds by which it has to play later to be heard together with the last.
    delay: Option<f64>,
}

impl Table {
    /// Of clients that were heard by a microphone of this rate. Distances are told from the client named `to`, or from the
    /// first to be heard.
    pub(super) fn new(names: Vec<String>, rate: u32, heard: &[Heard], to: Option<&str>) -> Self {
        let millis = |heard: &Heard| Some(heard.as_ref()?.as_ref().ok()?.delay * 1e3 / f64::from(rate));
        let arrivals: Vec<_> = heard.iter().map(millis).collect();
        let known = || names.iter().zip(&arrivals).filter_map(|(name, at)| Some((name, (*at)?)));
        let reference = match to {
            Some(to) => known().find(|(name, _)| *name == to),
            None => known().min_by(|a, b| a.1.total_cmp(&b.1)),
        };
        let last = known().map(|(_, at)| at).fold(0.0, f64::max);
        let (from, zero) = (reference.map(|r| r.0.clone()), reference.map(|r| r.1));
        let rows = names.iter().zip(heard).zip(&arrivals).map(|((name, heard), &arrival)| Row {
            name: name.clone(),
            heard: *heard,
            arrival,
            metres: arrival.zip(zero).map(|(at, zero)| (at - zero) * SPEED_OF_SOUND / 1e3),
            // Finer than 10 µs nobody can place a microphone.
            delay: arrival.map(|at| ((last - at) * 100.0).round() / 100.0),
        });
        Self { rows: rows.collect(), from }
    }

    /// Everybody was heard.
    pub(super) fn complete(&self) -> bool {
        self.rows.iter().all(|row| row.arrival.is_some())
    }

    /// Gives the clients, in the order of the names, the delays at which they are heard together. One that was not heard
    /// or cannot be `delayed` keeps what it had.
    pub(super) fn correct(&self, clients: &mut [Client], delayed: impl Fn(&Client) -> bool) {
        for (client, row) in clients.iter_mut().zip(&self.rows) {
            if let Some(delay) = row.delay.filter(|_| delayed(client)) {
                client.delay = Some(Delay::Millis(delay));
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let from = self.from.as_ref().map_or(String::new(), |name| format!("m from {name}"));
        let width = |text: &str| text.chars().count();
        let name = self.rows.iter().map(|row| width(&row.name)).max().unwrap_or(0).max(width("speaker"));
        let apart = width(&from).max(8);
        let mut text = format!("{:name$}  arrival ms  {from:>apart$}  clear by dB  delay_ms\n", "speaker");
        for row in &self.rows {
            text += &format!("{:name$}  ", row.name);
            text += &match (row.heard, row.arrival, row.delay) {
                (Some(Ok(heard)), Some(arrival), Some(delay)) => {
                    let metres = row.metres.map_or(String::new(), |metres| format!("{metres:+.2}"));
                    let margin = heard.margin;
                    format!("{arrival:10.2}  {metres:>apart$}  {margin:11.1}  {delay:8.2}\n")
                }
                (Some(Err(heard)), ..) => format!(
                    "not heard: nothing stands more than {:.1} dB above the rest, and it takes {}; is it on, and loud enough?\n",
                    heard.margin,
                    audio::align::LEAST_MARGIN
                ),
                _ => "not measured\n".into(),
            };
        }
        text
    }

    /// A row each, for programs.
    pub(super) fn values(&self) -> impl Iterator<Item = Value> {
        self.rows.iter().map(|row| {
            let margin =
                row.heard.map(|heard| heard.map_or_else(|unheard| unheard.margin, |heard| heard.margin));
            json!({
                "name": row.name,
                "heard": row.arrival.is_some(),
                "arrival_ms": row.arrival,
                "metres": row.metres,
                "margin_db": margin,
                "delay_ms": row.delay,
            })
        })
    }

    pub(super) fn summary(&self) -> Value {
        let heard = self.rows.iter().filter(|row| row.arrival.is_some()).count();
        json!({ "speakers": self.rows.len(), "heard": heard, "from": self.from })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audio::align::{Arrival, Unheard};

    fn table(to: Option<&str>) -> Table {
        let at = |delay| Some(Ok(Arrival { delay, margin: 31.04 }));
        let heard = [at(3000.0), at(2559.0), Some(Err(Unheard { margin: 1.23 })), None];
        Table::new(["Door", "Window", "Sub", "Hall"].map(String::from).to_vec(), 44_100, &heard, to)
    }

    #[test]
    fn distances_are_told_from_the_nearest_and_delays_to_the_last() {
        let table = table(None);
        assert!(!table.complete());
        let mut clients: Vec<Client> =
            ["a=h/0", "b=h/1", "c=h/2", "d=h/3"].map(|text| text.parse().unwrap()).into();
        clients[2].delay = Some(Delay::Metres(1.0));
        table.correct(&mut clients, |client| client.name != "a");
        let millis = |ms| Some(Delay::Millis(ms));
        let delays: Vec<_> = clients.iter().map(|client| client.delay).collect();
        assert_eq!(delays, [None, millis(10.0), Some(Delay::Metres(1.0)), None]);
        let expected = "\
speaker  arrival ms  m from Window  clear by dB  delay_ms
Door          68.03          +3.43         31.0      0.00
Window        58.03          +0.00         31.0     10.00
Sub      not heard: nothing stands more than 1.2 dB above the rest, and it takes 12; is it on, and loud enough?
Hall     not measured
";
        assert_eq!(table.text(), expected);
        let values: Vec<_> = table.values().collect();
        assert_eq!((&values[1]["delay_ms"], &values[2]["heard"]), (&json!(10.0), &json!(false)));
        assert_eq!(table.summary(), json!({ "speakers": 4, "heard": 2, "from": "Window" }));
    }

    #[test]
    fn distances_may_be_told_from_any_speaker_that_was_heard() {
        let metres = |table: &Table| table.values().map(|value| value["metres"].clone()).collect::<Vec<_>>();
        let near = |value: &Value, metres: f64| value.as_f64().is_some_and(|v| (v - metres).abs() < 1e-6);
        let from_door = metres(&table(Some("Door")));
        assert!(near(&from_door[0], 0.0) && near(&from_door[1], -3.43), "{from_door:?}");
        assert!(metres(&table(Some("Sub"))).iter().all(Value::is_null));
    }
}
