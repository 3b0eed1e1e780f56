//! Prints results: as text for people, and as JSON for programs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64_simd::STANDARD as BASE64;
use comfy_table::{Table, presets};
use record_cache::inspect::{Condition, Inspection};
use record_cache::{Amount, QueueStats, Record, StreamName};
use serde_json::{Value, json};

/// The most characters of a payload shown in a table.
const SHOWN_CHARACTERS: usize = 60;

pub(crate) struct Summary {
    pub(crate) path: PathBuf,
    pub(crate) condition: Condition,
    pub(crate) streams: Vec<StreamSummary>,
}

pub(crate) struct StreamSummary {
    pub(crate) name: StreamName,
    pub(crate) held: QueueStats,
    /// When the oldest readable record was recorded.
    pub(crate) oldest: Option<SystemTime>,
}

pub(crate) fn stats(summary: &Summary, as_json: bool, out: &mut impl Write) -> io::Result<()> {
    let records: usize = summary
        .streams
        .iter()
        .map(|stream| stream.held.records)
        .sum();
    let bytes: u64 = summary.streams.iter().map(|stream| stream.held.bytes).sum();
    if as_json {
        let streams: Vec<Value> = summary.streams.iter().map(stream_in_json).collect();
        let mut value = json!({
            "directory": summary.path,
            "records": records,
            "bytes": bytes,
            "streams": streams,
        });
        add_condition(&mut value, &summary.condition);
        return writeln!(out, "{value}");
    }
    heading(&summary.path, &summary.condition, out)?;
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(["stream", "records", "bytes", "oldest"]);
    for stream in &summary.streams {
        table.add_row([
            stream.name.as_str().escape_debug().to_string(),
            stream.held.records.to_string(),
            stream.held.bytes.to_string(),
            stream.oldest.map(age).unwrap_or_default(),
        ]);
    }
    table.add_row(["all", &records.to_string(), &bytes.to_string(), ""]);
    writeln!(out, "{table}")
}

/// A count with its noun: `1 record`, `2 records`.
pub(crate) fn counted(count: impl std::fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Prints a record, with its keys and payload only if they may be shown.
pub(crate) fn record(
    cache: &Path,
    stream: &StreamName,
    record: &Record,
    payloads: bool,
    as_json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    if as_json {
        let mut value = json!({
            "directory": cache,
            "stream": stream.as_str(),
            "id": record.id.get(),
            "recorded_at_ms": unix_millis(record.recorded_at),
            "attempts": record.attempts,
            "bytes": record.size(),
        });
        if payloads {
            if let Some(key) = &record.key {
                value["partition_key"] = json!(key);
            }
            if let Some(hash_key) = record.explicit_hash_key {
                // As text, like AWS: many JSON readers cannot represent integers beyond 2^53.
                value["explicit_hash_key"] = json!(hash_key.to_string());
            }
            // Text if it is valid UTF-8, otherwise base64.
            match str::from_utf8(&record.data) {
                Ok(text) => value["text"] = json!(text),
                Err(_) => value["base64"] = json!(BASE64.encode_to_string(&record.data)),
            }
        }
        return writeln!(out, "{value}");
    }
    write!(
        out,
        "{} {} recorded {} ago, {}, {}",
        stream.as_str().escape_debug(),
        record.id.get(),
        age(record.recorded_at),
        counted(record.attempts, "attempt"),
        counted(record.size(), "byte"),
    )?;
    if payloads {
        let text = String::from_utf8_lossy(&record.data);
        let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        let key = record.key.as_deref().unwrap_or_default();
        write!(out, " key={key:?}")?;
        if let Some(hash_key) = record.explicit_hash_key {
            write!(out, " hash_key={hash_key}")?;
        }
        write!(out, " {shown:?}{more}")?;
    }
    writeln!(out)
}

/// Prints the result of a check. Returns whether everything was intact.
pub(crate) fn verified(
    cache: &Inspection,
    damaged: Amount,
    as_json: bool,
    out: &mut impl Write,
) -> io::Result<bool> {
    let condition = cache.condition();
    let (stats, lost) = (cache.stats(), condition.missing_records);
    let is_sound = damaged.records == 0
        && lost == 0
        && condition.damaged_places == 0
        && condition.unreadable_segments == 0;
    if as_json {
        let mut value = json!({
            "directory": cache.path(),
            "is_sound": is_sound,
            "records": stats.records() - damaged.records,
            "damaged_records": damaged.records,
        });
        add_condition(&mut value, condition);
        writeln!(out, "{value}")?;
        return Ok(is_sound);
    }
    heading(cache.path(), condition, out)?;
    writeln!(
        out,
        "{} read and found sound",
        counted(stats.records() - damaged.records, "record")
    )?;
    if !is_sound {
        writeln!(
            out,
            "DAMAGED: {} unreadable, {lost} missing; {} in the log, {}. \
             A client skips what cannot be read and delivers the rest.",
            counted(damaged.records, "record"),
            counted(condition.damaged_places, "damaged place"),
            counted(condition.unreadable_segments, "unreadable segment"),
        )?;
    }
    Ok(is_sound)
}

fn heading(path: &Path, condition: &Condition, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", path.display())?;
    let state = match condition.is_closed {
        true => "nothing was written since it was last closed, or created",
        false => {
            "not closed: a client is using it, or its program ended without close(); \
             these are the figures of this moment"
        }
    };
    writeln!(
        out,
        "{}, {} on disk; {state}",
        counted(condition.segments, "segment"),
        counted(condition.disk_bytes, "byte")
    )?;
    if condition.is_torn {
        writeln!(
            out,
            "a write at the end is incomplete: under way, or never answered"
        )?;
    }
    if !condition.set_aside.is_empty() {
        writeln!(
            out,
            "damaged data was set aside: {}",
            condition.set_aside.join(", ")
        )?;
    }
    Ok(())
}

fn add_condition(value: &mut Value, condition: &Condition) {
    value["is_closed"] = json!(condition.is_closed);
    value["is_torn"] = json!(condition.is_torn);
    value["segments"] = json!(condition.segments);
    value["disk_bytes"] = json!(condition.disk_bytes);
    value["missing_records"] = json!(condition.missing_records);
    value["damaged_places"] = json!(condition.damaged_places);
    value["unreadable_segments"] = json!(condition.unreadable_segments);
    value["set_aside"] = json!(condition.set_aside);
}

fn stream_in_json(stream: &StreamSummary) -> Value {
    json!({
        "stream": stream.name.as_str(),
        "records": stream.held.records,
        "bytes": stream.held.bytes,
        "oldest_at_ms": stream.oldest.map(unix_millis),
    })
}

fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// An age in its two most significant units.
fn age(since: SystemTime) -> String {
    let age = since.elapsed().unwrap_or(Duration::ZERO).as_secs();
    let (minutes, hours, days) = (age / 60, age / 3600, age / 86400);
    match age {
        0..60 => format!("{age} s"),
        60..3600 => format!("{minutes} min {} s", age % 60),
        3600..86400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}
