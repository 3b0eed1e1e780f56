//! Parses the log of `strace -f -xx`.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// One system call of one thread.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    /// The lines of the log at which the call was made and returned.
    pub(super) began: usize,
    pub(super) ended: Option<usize>,
    /// The result. `None` if the call never returned.
    pub(super) result: Option<i64>,
}

/// The text between two commas.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Argument {
    /// Everything but the strings.
    pub(super) word: String,
    /// The strings, concatenated.
    pub(super) bytes: Vec<u8>,
}

impl Argument {
    pub(super) fn number(&self) -> Option<i64> {
        number(&self.word)
    }
}

/// Parses the log. Calls are in the order in which they were made.
pub(super) fn parse(log: &[u8]) -> io::Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    // By thread: the index of its call in progress, and the start of its text.
    let mut under_way: BTreeMap<&[u8], (usize, &[u8])> = BTreeMap::new();
    for (number, line) in lines(log).enumerate() {
        let Some((thread, text)) = split_thread(line) else {
            continue;
        };
        if text.starts_with(b"---") || text.starts_with(b"+++") {
            continue;
        }
        if let Some(rest) = text.strip_prefix(b"<... ") {
            let rest = after(rest, b" resumed>").ok_or_else(|| strange(number, text))?;
            let (index, head) = under_way
                .remove(thread)
                .ok_or_else(|| strange(number, text))?;
            let whole = [head, rest].concat();
            let call = parse_call(&whole).ok_or_else(|| strange(number, &whole))?;
            let began = calls[index].began;
            calls[index] = Call {
                began,
                ended: Some(number),
                ..call
            };
        } else if let Some(head) = text.strip_suffix(b" <unfinished ...>") {
            under_way.insert(thread, (calls.len(), head));
            // All we know if the call never returns.
            let call = parse_call(&[head, b") = ?"].concat());
            let call = call.ok_or_else(|| strange(number, text))?;
            calls.push(Call {
                began: number,
                ..call
            });
        } else {
            let call = parse_call(text).ok_or_else(|| strange(number, text))?;
            calls.push(Call {
                began: number,
                ended: call.result.map(|_| number),
                ..call
            });
        }
    }
    Ok(calls)
}

/// The lines without their ends. The standard library searches for these quickly.
fn lines(mut log: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let whole = log;
        let length = log.skip_until(b'\n').ok().filter(|length| *length > 0)?;
        let line = &whole[..length];
        Some(line.strip_suffix(b"\n").unwrap_or(line))
    })
}

fn split_thread(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (thread, text) = line.split_at(digits);
    (digits > 0).then(|| (thread, text.trim_ascii_start()))
}

fn parse_call(text: &[u8]) -> Option<Call> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let name = String::from_utf8(text[..open].to_vec()).ok()?;
    let (arguments, rest) = parse_arguments(&text[open + 1..])?;
    let rest = std::str::from_utf8(rest).ok()?.trim_start();
    let result = rest.strip_prefix("= ")?;
    Some(Call {
        name,
        arguments,
        began: 0,
        ended: None,
        result: number(result.split(' ').next()?),
    })
}

/// The arguments, and the text behind the closing bracket.
fn parse_arguments(text: &[u8]) -> Option<(Vec<Argument>, &[u8])> {
    let mut arguments = Vec::new();
    let mut argument = Argument::default();
    let mut depth = 0;
    let mut at = 0;
    loop {
        let byte = *text.get(at)?;
        at += 1;
        match byte {
            b'"' => {
                let used = unescape(text.get(at..)?, &mut argument.bytes)?;
                at += used;
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => break,
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                arguments.push(std::mem::take(&mut argument));
                continue;
            }
            b' ' if depth == 0 => continue,
            _ => {}
        }
        argument.word.push(char::from(byte));
    }
    arguments.push(argument);
    Some((arguments, &text[at..]))
}

/// Reads a string up to its closing quote, and returns the number of bytes consumed.
///
/// A log is mostly `\xNN` strings, many megabytes of them, so this loop is fast even without the
/// optimizer.
fn unescape(text: &[u8], bytes: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        while at + 3 < text.len() && text[at] == b'\\' && text[at + 1] == b'x' {
            let (high, low) = (HEX[text[at + 2] as usize], HEX[text[at + 3] as usize]);
            if high > 15 || low > 15 {
                return None;
            }
            bytes.push((high << 4) | low);
            at += 4;
        }
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                let (byte, used) = unescape_one(text.get(at + 1..)?)?;
                bytes.push(byte);
                at += 1 + used;
            }
            byte => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
}

/// The values of hexadecimal digits. Other bytes map to 255.
const HEX: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

fn unescape_one(text: &[u8]) -> Option<(u8, usize)> {
    let byte = match text.first()? {
        b'0'..=b'7' => {
            let octal = text.iter().take(3).map_while(|byte| match byte {
                b'0'..=b'7' => Some(u32::from(byte - b'0')),
                _ => None,
            });
            let (value, used) =
                octal.fold((0, 0), |(value, used), digit| (value * 8 + digit, used + 1));
            return Some((u8::try_from(value).ok()?, used));
        }
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'x' => return None,
        other => *other,
    };
    Some((byte, 1))
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn after<'a>(text: &'a [u8], marker: &[u8]) -> Option<&'a [u8]> {
    let at = text
        .windows(marker.len())
        .position(|window| window == marker)?;
    text.get(at + marker.len()..)
}

fn strange(number: usize, text: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
    let line = number + 1;
    io::Error::other(format!(
        "cannot parse the log of strace: line={line}, text={shown}"
    ))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn calls_of_several_threads_are_put_together() {
        let log = br#"7 write(3, "\x61\"b\x0A", 4 <unfinished ...>
8 pwritev2(4, [{iov_base="ab", iov_len=2}, {iov_base="\143", iov_len=1}], 2, 7, 0) = 3
9 fsync(3 <unfinished ...>
7 <... write resumed>) = 4
--- SIGCHLD {si_signo=SIGCHLD} ---
8 unlinkat(4, "x", 0) = -1 ENOENT (No such file or directory)
7 read(0x3, 0x7fff, 0x1000) = 0x10
9 +++ killed by SIGKILL +++
"#;
        let calls = parse(log).unwrap();
        let shape: Vec<_> = calls
            .iter()
            .map(|call| (&*call.name, call.began, call.ended, call.result))
            .collect();
        assert_eq!(
            shape,
            [
                ("write", 0, Some(3), Some(4)),
                ("pwritev2", 1, Some(1), Some(3)),
                ("fsync", 2, None, None),
                ("unlinkat", 5, Some(5), Some(-1)),
                ("read", 6, Some(6), Some(16)),
            ]
        );
        assert_eq!(calls[0].arguments[1].bytes, b"a\"b\n");
        assert_eq!(calls[1].arguments[1].bytes, b"abc");
        assert_eq!(calls[1].arguments[3].number(), Some(7));
        assert_eq!(calls[4].arguments[0].number(), Some(3));
    }

    #[test]
    fn a_log_that_is_cut_off_is_refused() {
        assert!(parse(b"7 write(3, \"abc").is_err());
        assert!(parse(b"7 <... write resumed>) = 3").is_err());
    }
}
