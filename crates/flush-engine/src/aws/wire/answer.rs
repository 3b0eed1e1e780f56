//! Reads from a response the outcome of each record, or why the request was refused.

use super::cbor_reader::CborReader;
use super::entry::Operation;
use super::json_reader::JsonReader;
use super::source::{Source, Unreadable};
use crate::aws::text;
use crate::{Receipt, Verdict};

/// Maximum size of a response.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The outcome of one record.
///
/// ```
/// use flush_engine::Verdict;
/// use flush_engine::aws::wire::Outcome;
///
/// let rejected = Outcome::Failed { code: "InternalFailure".to_owned() };
/// assert_eq!(Verdict::from(rejected), Verdict::Failed { code: "InternalFailure".to_owned() });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service accepted the record; with a receipt if one was requested.
    Accepted(Option<Receipt>),
    /// The service rejected the record with this error code.
    Failed {
        /// The code, or `Unreadable` if it does not look like one.
        code: String,
    },
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted(receipt) => Self::Accepted(receipt),
            Outcome::Failed { code } => Self::Failed { code },
        }
    }
}

/// Reads the outcomes of `records` records, in order.
pub(super) fn outcomes(
    operation: Operation,
    body: &[u8],
    records: usize,
    with_receipts: bool,
) -> Result<Vec<Outcome>, Unreadable> {
    match Spoken::of(body)? {
        Spoken::Cbor => read_outcomes(CborReader::new(body), operation, records, with_receipts),
        Spoken::Json => read_outcomes(JsonReader::new(body), operation, records, with_receipts),
    }
}

/// The contents of a refusal's body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
}

impl Refusal {
    /// Reads a refusal. An unreadable body yields an empty one.
    pub(super) fn read(body: &[u8]) -> Self {
        let refusal = match Spoken::of(body) {
            Ok(Spoken::Cbor) => read_refusal(CborReader::new(body)),
            Ok(Spoken::Json) => read_refusal(JsonReader::new(body)),
            Err(unreadable) => Err(unreadable),
        };
        refusal.unwrap_or_default()
    }
}

/// The format of a response, from its first byte, since a content type may be wrong.
enum Spoken {
    Cbor,
    Json,
}

impl Spoken {
    fn of(body: &[u8]) -> Result<Self, Unreadable> {
        if body.len() > MAX_BYTES {
            return Err(Unreadable("it is too large"));
        }
        match body.trim_ascii_start().first() {
            Some(b'{') => Ok(Self::Json),
            _ if matches!(body.first(), Some(0xa0..=0xbf)) => Ok(Self::Cbor),
            _ => Err(Unreadable("it is neither CBOR nor JSON")),
        }
    }
}

fn read_outcomes<'a>(
    mut source: impl Source<'a>,
    operation: Operation,
    records: usize,
    with_receipts: bool,
) -> Result<Vec<Outcome>, Unreadable> {
    const MISCOUNTED: Unreadable = Unreadable("it does not have one result for each record");
    let mut outcomes = None;
    source.map(|name, source| {
        if name != operation.results_member() {
            return source.skip().map(drop);
        }
        let results = outcomes.insert(Vec::with_capacity(records));
        source.list(|source| {
            if results.len() == records {
                return Err(MISCOUNTED);
            }
            results.push(read_outcome(source, operation, with_receipts)?);
            Ok(())
        })
    })?;
    source.end()?;
    outcomes
        .filter(|outcomes| outcomes.len() == records)
        .ok_or(MISCOUNTED)
}

fn read_outcome<'a>(
    source: &mut impl Source<'a>,
    operation: Operation,
    with_receipts: bool,
) -> Result<Outcome, Unreadable> {
    let (mut code, mut has_id, mut id, mut shard_id) = (None, false, None, None);
    source.map(|name, source| {
        match name {
            "ErrorCode" => code = source.text()?,
            _ if name == operation.id_member() => {
                has_id = if with_receipts {
                    id = source.text()?;
                    id.is_some()
                } else {
                    source.skip()?
                };
            }
            "ShardId" if with_receipts => shard_id = source.text()?,
            _ => _ = source.skip()?,
        }
        Ok(())
    })?;
    match code {
        Some(code) => Ok(Outcome::Failed {
            code: text::code(&code),
        }),
        None if has_id => {
            Ok(Outcome::Accepted(id.map(|id| {
                Receipt::new(id.into_owned(), shard_id.map(Into::into))
            })))
        }
        None => Err(Unreadable(
            "a record has neither an error code nor what an accepted one has",
        )),
    }
}

fn read_refusal<'a>(mut source: impl Source<'a>) -> Result<Refusal, Unreadable> {
    let (mut kind, mut code, mut message) = (None, None, None);
    source.map(|name, source| {
        let member = match name {
            "__type" => &mut kind,
            "code" => &mut code,
            "message" | "Message" | "errorMessage" => &mut message,
            _ => return source.skip().map(drop),
        };
        if source.is_text() {
            *member = source.text()?;
            return Ok(());
        }
        source.skip().map(drop)
    })?;
    source.end()?;
    Ok(Refusal {
        code: code.or(kind).and_then(|code| bare_code(&code)),
        message: message.map(Into::into),
    })
}

/// Strips the namespace before a code and the URL after it.
pub(super) fn bare_code(code: &str) -> Option<String> {
    let code = code.split_once(':').map_or(code, |(code, _url)| code);
    let code = code.rsplit_once('#').map_or(code, |(_space, code)| code);
    let code = code.trim();
    (!code.is_empty()).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CBOR response of indefinite lengths, as LocalStack and the service send it.
    const CBOR: &[u8] = b"\xbf\x71FailedRecordCount\x01\x67Records\x9f\
        \xbf\x67ShardId\x74shardId-000000000000\x6eSequenceNumber\x6249\xff\
        \xa3\x69ErrorCode\x72ThrottledException\x6cErrorMessage\xf6\x6eSequenceNumber\xf6\
        \xa3\x69ErrorCode\xf6\x6eSequenceNumber\x7f\x615\x610\xff\x67ShardId\x61s\
        \xff\x6eEncryptionType\x64NONE\xff";
    const JSON: &str = r#" {"FailedRecordCount":1,"Records":[
        {"ShardId":"shardId-000000000000","SequenceNumber":"49"},
        {"ErrorCode":"ThrottledException","ErrorMessage":null,"SequenceNumber":null},
        {"ErrorCode":null,"SequenceNumber":"50","ShardId":"s"}],"EncryptionType":"NONE"}"#;

    fn accepted(id: &str, shard_id: &str) -> Outcome {
        Outcome::Accepted(Some(Receipt {
            id: id.to_owned(),
            shard_id: Some(shard_id.to_owned()),
        }))
    }

    fn failed(code: &str) -> Outcome {
        let code = code.to_owned();
        Outcome::Failed { code }
    }

    fn read(body: &[u8], records: usize) -> Result<Vec<Outcome>, Unreadable> {
        outcomes(Operation::PutRecords, body, records, false)
    }

    #[test]
    fn both_formats_are_read_alike() {
        for body in [CBOR, JSON.as_bytes()] {
            let lean = [
                Outcome::Accepted(None),
                failed("ThrottledException"),
                Outcome::Accepted(None),
            ];
            assert_eq!(read(body, 3).unwrap(), lean);
            let whole = [
                accepted("49", "shardId-000000000000"),
                failed("ThrottledException"),
                accepted("50", "s"),
            ];
            let read = outcomes(Operation::PutRecords, body, 3, true).unwrap();
            assert_eq!(read, whole);
        }
    }

    #[test]
    fn an_answer_has_one_result_for_each_record() {
        for body in [CBOR, JSON.as_bytes()] {
            for records in [0, 1, 2, 4, 500] {
                assert!(read(body, records).is_err(), "{records}");
            }
        }
        for body in [
            &b"{}"[..],
            b"\xa0",
            b"{\"Records\":null}",
            b"\xa1\x67Records\xf6",
        ] {
            assert!(read(body, 0).is_err());
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for body in [
            &b""[..],
            b"<html><body>Sign in to the Wi-Fi</body></html>",
            b"OK",
            b"[]",
            b"\x80",
            b"\xff",
            b"{\"Records\":[{}]}",
            b"{\"Records\":[{\"SequenceNumber\":null}]}",
            b"{\"Records\":[{\"ErrorCode\":5}]}",
            b"{\"Records\":[{\"SequenceNumber\":\"1\"}]",
            b"{\"Records\":[{\"SequenceNumber\":\"1\"}]}{}",
            b"{\"__type\":\"SomeException\"}",
            b"\xa1\x67Records\x81\xa0",
            b"\xa1\x67Records\x81\xa1\x6eSequenceNumber\x6149",
        ] {
            assert!(read(body, 1).is_err(), "{body:?}");
        }
        let mut large = JSON.as_bytes().to_vec();
        large.resize(MAX_BYTES, b' ');
        assert!(read(&large, 3).is_ok());
        large.push(b' ');
        assert!(read(&large, 3).is_err());
    }

    #[test]
    fn a_code_that_does_not_look_like_one_is_not_shown() {
        let read = read(br#"{"Records":[{"ErrorCode":"\u001b[2J"}]}"#, 1);
        assert_eq!(read, Ok(vec![failed("Unreadable")]));
    }

    #[test]
    fn firehose_has_names_of_its_own() {
        let body =
            br#"{"FailedPutCount":1,"RequestResponses":[{"RecordId":"id"},{"ErrorCode":"X"}]}"#;
        let read = outcomes(Operation::PutRecordBatch, body, 2, true).unwrap();
        let receipt = Receipt {
            id: "id".to_owned(),
            shard_id: None,
        };
        assert_eq!(read, [Outcome::Accepted(Some(receipt)), failed("X")]);
    }

    #[test]
    fn a_refusal_is_read_in_both_formats() {
        let refusal = Refusal {
            code: Some("InvalidArgumentException".to_owned()),
            message: Some("no".to_owned()),
        };
        for body in [
            &b"\xbf\x66__type\x78\x18InvalidArgumentException\x67message\x62no\xff"[..],
            b"\xa3\x61x\x81\x01\x66__type\x78\x1ca.b#InvalidArgumentException\x67Message\x62no",
            b"{\"__type\":\"a.b#InvalidArgumentException:http://x#y/\",\"message\":\"no\"}",
            b"{\"code\":\"InvalidArgumentException\",\"__type\":\"x\",\"errorMessage\":\"no\"}",
        ] {
            assert_eq!(Refusal::read(body), refusal, "{body:?}");
        }
        for body in [
            &b""[..],
            b"<html>",
            b"{",
            b"{}",
            b"\xa0",
            b"\xa1\x66__type\xf6",
        ] {
            assert_eq!(Refusal::read(body), Refusal::default(), "{body:?}");
        }
    }
}
