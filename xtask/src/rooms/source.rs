//! Reads one source file: strips comments and unit tests, and finds paths that begin with `crate`,
//! `super` or `self`.

/// The text of a file, with spaces in place of ignored parts, so line numbers stay the same.
#[derive(Debug)]
pub(super) struct Source {
    /// Without comments, strings and unit tests.
    pub(super) code: String,
    /// Without comments and unit tests.
    pub(super) words: String,
}

impl Source {
    pub(super) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let (mut code, mut words) = (bytes.to_vec(), bytes.to_vec());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &text.as_bytes()[at..];
            let (length, is_string) = match rest {
                [b'/', b'/', ..] => (position(rest, b"\n"), false),
                [b'/', b'*', ..] => (position(rest, b"*/") + 2, false),
                [b'"', ..] => (string(rest), true),
                [b'r', b'"' | b'#', ..] if !is_word(bytes, at) => (raw_string(rest), true),
                [b'\'', b'"', b'\'', ..] => (3, true),
                _ => (0, false),
            };
            let end = (at + length).min(bytes.len());
            blank(&mut code[at..end]);
            if !is_string {
                blank(&mut words[at..end]);
            }
            at = end.max(at + 1);
        }
        for (begin, end) in unit_tests(&code) {
            blank(&mut code[begin..end]);
            blank(&mut words[begin..end]);
        }
        let text = |bytes| String::from_utf8(bytes).unwrap_or_default();
        Self {
            code: text(code),
            words: text(words),
        }
    }

    /// Each path with its line. A `use` with braces yields each of its paths.
    pub(super) fn paths(&self) -> Vec<(usize, Vec<&str>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.code.len() {
            let word = word(&self.code[at..]);
            let begins = !is_word(self.code.as_bytes(), at) && !word.is_empty();
            let rest = self.code[at + word.len()..].trim_start();
            let used = self.code[..at].trim_end().ends_with("use");
            if begins
                && rest.starts_with("::")
                && (used || matches!(word, "crate" | "super" | "self"))
            {
                let line = self.code[..at].matches('\n').count() + 1;
                let mut paths = Vec::new();
                let end = tree(&self.code, at, &[], &mut paths);
                found.extend(paths.into_iter().map(|path| (line, path)));
                at = end.max(at + word.len());
            } else {
                at += self.code[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
        found
    }
}

/// Reads a path, or a list in braces; returns where it ends.
fn tree<'a>(
    code: &'a str,
    begin: usize,
    before: &[&'a str],
    found: &mut Vec<Vec<&'a str>>,
) -> usize {
    let skip = |at: usize| at + code[at..].len() - code[at..].trim_start().len();
    let mut path = before.to_vec();
    let mut at = skip(begin);
    loop {
        let next = word(&code[at..]);
        path.extend((!next.is_empty()).then_some(next));
        at = skip(at + next.len());
        if next.is_empty() || !code[at..].starts_with("::") {
            break;
        }
        at = skip(at + 2);
        if !code[at..].starts_with('{') {
            continue;
        }
        at += 1;
        while at < code.len() && !code[at..].starts_with('}') {
            let end = tree(code, at, &path, found);
            // Skip a rename and the comma.
            let more = code[end..].find([',', '}']).unwrap_or(0);
            at = end + more + usize::from(code[end + more..].starts_with(','));
            at = skip(at.max(end));
            if at == begin {
                return code.len();
            }
        }
        return (at + 1).min(code.len());
    }
    found.push(path);
    at
}

/// The first word of a text.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Whether this place continues a word.
fn is_word(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    let found = bytes.windows(what.len()).position(|window| window == what);
    found.unwrap_or(bytes.len())
}

fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of a raw string, or 0 if it is none.
fn raw_string(bytes: &[u8]) -> usize {
    let marks = bytes[1..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(1 + marks) != Some(&b'"') {
        return 0;
    }
    let end = [&b"\""[..], &vec![b'#'; marks]].concat();
    2 + marks + position(&bytes[2 + marks..], &end) + end.len()
}

fn blank(bytes: &mut [u8]) {
    let kept = bytes.iter_mut().filter(|byte| **byte != b'\n');
    kept.for_each(|byte| *byte = b' ');
}

/// The start and end of each module that is compiled only for unit tests.
fn unit_tests(code: &[u8]) -> Vec<(usize, usize)> {
    const MARK: &[u8] = b"#[cfg(test)]";
    let mut found = Vec::new();
    let mut at = 0;
    while at + position(&code[at..], MARK) < code.len() {
        let begin = at + position(&code[at..], MARK);
        let mut end = begin + MARK.len();
        let mut depth = 0_usize;
        while let Some(byte) = code.get(end) {
            end += 1;
            match byte {
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(byte, b'}' | b';') {
                break;
            }
        }
        found.push((begin, end));
        at = end;
    }
    found
}
