//! Any response is read or refused, and the result is no larger than the response.
//! `WIRE_FUZZ_CASES` sets how many responses are tried.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::answer::{self, Outcome, Refusal};
use super::cbor_reader::CborReader;
use super::entry::Operation;
use super::json_reader::JsonReader;
use super::source::Source;
use crate::aws::text;

fn config() -> Config {
    let cases = std::env::var("WIRE_FUZZ_CASES");
    let cases = cases.ok().and_then(|cases| cases.parse().ok());
    Config {
        failure_persistence: None,
        ..Config::with_cases(cases.unwrap_or(4_096))
    }
}

/// Pieces of responses, whole values, bare heads and noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "Records",
        "ErrorCode",
        "SequenceNumber",
        "ShardId",
        "__type",
        "message",
        "RequestResponses",
    ];
    let word = prop::sample::select(words.to_vec());
    let number = prop_oneof![any::<u64>(), 0..300_u64];
    prop_oneof![
        3 => vec(any::<u8>(), 0..6),
        3 => word.clone().prop_map(|word| {
            let mut text = vec![0x60 | u8::try_from(word.len()).unwrap()];
            text.extend_from_slice(word.as_bytes());
            text
        }),
        1 => word.prop_map(|word| format!("\"{word}\":").into_bytes()),
        2 => (0..8_u8, 0..32_u8).prop_map(|(major, info)| vec![major << 5 | info]),
        1 => (0..8_u8, number).prop_map(|(major, number)| {
            let mut head = vec![major << 5 | 27];
            head.extend_from_slice(&number.to_be_bytes());
            head
        }),
        1 => prop::sample::select(vec![b'{', b'}', b'[', b']', b',', b'"', b'\\', 0xbf, 0x9f, 0xff])
            .prop_map(|byte| vec![byte]),
    ]
}

fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

/// Encodes a response with these outcomes in either format.
fn written(outcomes: &[Option<String>], is_json: bool) -> Vec<u8> {
    let mut answer = Vec::new();
    let text = |answer: &mut Vec<u8>, text: &str| {
        if is_json {
            answer.extend_from_slice(serde_json::to_string(text).unwrap().as_bytes());
        } else {
            answer.extend_from_slice(&[0x79, 0, u8::try_from(text.len()).unwrap()]);
            answer.extend_from_slice(text.as_bytes());
        }
    };
    let mark = |answer: &mut Vec<u8>, json: u8, cbor: Option<u8>| {
        if is_json {
            answer.push(json);
        } else {
            answer.extend(cbor);
        }
    };
    mark(&mut answer, b'{', Some(0xbf));
    text(&mut answer, "Records");
    mark(&mut answer, b':', None);
    mark(&mut answer, b'[', Some(0x9f));
    for (place, outcome) in outcomes.iter().enumerate() {
        if place > 0 {
            mark(&mut answer, b',', None);
        }
        mark(&mut answer, b'{', Some(0xa1));
        text(
            &mut answer,
            outcome.as_ref().map_or("SequenceNumber", |_| "ErrorCode"),
        );
        mark(&mut answer, b':', None);
        text(&mut answer, outcome.as_deref().unwrap_or("49"));
        mark(&mut answer, b'}', None);
    }
    mark(&mut answer, b']', Some(0xff));
    mark(&mut answer, b'}', Some(0xff));
    answer
}

fn said(outcomes: &[Option<String>]) -> Vec<Outcome> {
    let outcome = |code: &Option<String>| match code {
        Some(code) => Outcome::Failed {
            code: text::code(code),
        },
        None => Outcome::Accepted(None),
    };
    outcomes.iter().map(outcome).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rubbish_is_read_or_refused(rubbish in rubbish(), records in 0..4_usize) {
        for with_receipts in [false, true] {
            let read = answer::outcomes(Operation::PutRecords, &rubbish, records, with_receipts);
            prop_assert!(read.is_err() || read.unwrap().len() == records);
        }
        let refusal = Refusal::read(&rubbish);
        let bound = rubbish.len();
        prop_assert!(refusal.code.unwrap_or_default().len() <= bound);
        prop_assert!(refusal.message.unwrap_or_default().len() <= bound);
        _ = CborReader::new(&rubbish).skip();
        _ = CborReader::new(&rubbish).text();
        _ = JsonReader::new(&rubbish).skip();
        _ = JsonReader::new(&rubbish).text();
    }

    #[test]
    fn an_answer_is_read_as_it_was_meant_and_damaged_never_longer(
        outcomes in vec(prop::option::of("\\PC{0,12}"), 0..12),
        is_json: bool,
        cut: prop::sample::Index,
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut answer = written(&outcomes, is_json);
        if let Some((place, byte)) = damage {
            let place = place.index(answer.len());
            answer[place] = byte;
            let read = answer::outcomes(Operation::PutRecords, &answer, outcomes.len(), false);
            prop_assert!(read.is_err() || read.unwrap().len() == outcomes.len());
        } else {
            let read = answer::outcomes(Operation::PutRecords, &answer, outcomes.len(), false);
            prop_assert_eq!(read.unwrap(), said(&outcomes));
            let cut = &answer[..cut.index(answer.len())];
            let read = answer::outcomes(Operation::PutRecords, cut, outcomes.len(), false);
            prop_assert!(read.is_err());
        }
    }
}
