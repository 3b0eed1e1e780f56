//! Formats arrived records for people.

use std::io::Read;

use aggregation::kpl;
use amplify_test_support::PutRecord;
use flate2::read::MultiGzDecoder;

/// Characters shown of a payload.
const SHOWN_CHARACTERS: usize = 200;
/// The maximum size of that many characters in UTF-8.
const SHOWN_BYTES: usize = 4 * SHOWN_CHARACTERS;
/// Events shown of one record.
const SHOWN_EVENTS: usize = 20;

/// One line for a record, and one for each of its events if there are several.
pub(crate) fn lines(stream: &str, record: &PutRecord) -> Vec<String> {
    let key = keys(
        record.partition_key.as_deref(),
        record.explicit_hash_key.as_deref(),
    );
    let of = format!("  {stream}{key}");
    match kpl::decode(&record.data) {
        Ok(Some(events)) => {
            let mut lines = vec![format!("{of}: {} events in a KPL record", events.len())];
            for event in events.iter().take(SHOWN_EVENTS) {
                let hash_key = event.explicit_hash_key.map(|key| key.to_string());
                let key = keys(Some(event.partition_key), hash_key.as_deref());
                lines.push(format!("   {key}: {}", text(event.data)));
            }
            if events.len() > SHOWN_EVENTS {
                lines.push(format!("    and {} more", events.len() - SHOWN_EVENTS));
            }
            lines
        }
        // A KPL reader drops such a record.
        Err(_) => vec![format!("{of}: a damaged KPL record")],
        Ok(None) => vec![format!("{of}: {}", unpacked(&record.data))],
    }
}

fn keys(key: Option<&str>, hash_key: Option<&str>) -> String {
    let key = key.map(|key| format!(" key={key:?}"));
    let hash_key = hash_key.map(|hash_key| format!(" hash_key={}", hash_key.escape_debug()));
    format!(
        "{}{}",
        key.unwrap_or_default(),
        hash_key.unwrap_or_default()
    )
}

fn unpacked(data: &[u8]) -> String {
    if !data.starts_with(&[0x1f, 0x8b]) {
        return text(data);
    }
    // Unpack no more than is shown: a malicious payload could expand without end.
    let mut beginning = Vec::new();
    let limit = SHOWN_BYTES as u64 + 1;
    match MultiGzDecoder::new(data)
        .take(limit)
        .read_to_end(&mut beginning)
    {
        Ok(_) => format!("gzip of {}", text(&beginning)),
        Err(_) => text(data),
    }
}

/// Escaped, so a payload cannot move the cursor. Invalid UTF-8 shows as `\u{fffd}`.
fn text(data: &[u8]) -> String {
    let beginning = data.get(..SHOWN_BYTES).unwrap_or(data);
    let decoded = String::from_utf8_lossy(beginning);
    let mut rest = decoded.chars();
    let shown: String = rest.by_ref().take(SHOWN_CHARACTERS).collect();
    let is_whole = rest.next().is_none() && beginning.len() == data.len();
    let more = if is_whole { "" } else { "…" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use aggregation::{Event, KplLimits};
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn record(data: &[u8]) -> PutRecord {
        PutRecord {
            data: data.to_vec().into(),
            partition_key: Some("customer-3".to_owned()),
            explicit_hash_key: None,
        }
    }

    #[test]
    fn a_record_is_a_line_of_escaped_text() {
        assert_eq!(
            lines("orders", &record(b"an order\x1b[2J\xff")),
            [r#"  orders key="customer-3": "an order\u{1b}[2J�""#]
        );
        let mut hashed = record(b"x");
        (hashed.partition_key, hashed.explicit_hash_key) = (None, Some("7".to_owned()));
        assert_eq!(lines("orders", &hashed), [r#"  orders hash_key=7: "x""#]);
    }

    #[test]
    fn a_long_payload_is_cut() {
        for (letter, letters) in [("a", 201), ("ä", 401), ("🦀", 201)] {
            let line = lines("orders", &record(letter.repeat(letters).as_bytes())).remove(0);
            assert!(line.ends_with("\"…"), "{line}");
            assert_eq!(line.matches(&letter.repeat(200)).count(), 1, "{line}");
        }
        let whole = lines("orders", &record("🦀".repeat(200).as_bytes())).remove(0);
        assert!(whole.ends_with('"'), "{whole}");
    }

    #[test]
    fn events_that_share_a_record_are_shown_one_by_one() {
        let mut encoder = kpl::Encoder::new(KplLimits::default());
        for n in 0..25 {
            let key = format!("device-{}", n % 2);
            let key: &'static str = key.leak();
            encoder.push(Event::new(key, b"reading"));
        }
        let shown = lines("orders", &record(&encoder.encode()));
        assert_eq!(
            shown[0],
            r#"  orders key="customer-3": 25 events in a KPL record"#
        );
        assert_eq!(shown[2], r#"    key="device-1": "reading""#);
        assert_eq!((shown.len(), &*shown[21]), (22, "    and 5 more"));
    }

    #[test]
    fn what_is_compressed_is_shown_as_text_unless_it_is_damaged() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&b"one\ntwo\n".repeat(100_000)).unwrap();
        let packed = gzip.finish().unwrap();
        let shown = lines("orders", &record(&packed)).remove(0);
        assert!(shown.contains(r#"gzip of "one\ntwo\n"#), "{shown}");
        assert!(shown.ends_with("\"…") && shown.len() < 500, "{shown}");
        let shown = lines("orders", &record(&packed[..12])).remove(0);
        assert!(!shown.contains("gzip of"), "{shown}");
    }
}
