//! Sanitizes untrusted text from a service for terminals and logs.

use std::fmt::Write as _;

/// Maximum characters in an error code.
const MAX_CODE_CHARS: usize = 128;
/// Maximum bytes in a message.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Returns the error code, or `Unreadable` if it does not look like one.
pub(crate) fn code(code: &str) -> String {
    let is_code = (1..=MAX_CODE_CHARS).contains(&code.len())
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:#-".contains(&byte));
    if is_code { code } else { "Unreadable" }.to_owned()
}

/// Makes a message safe to show: removes passwords from URLs, escapes unprintable characters and
/// truncates it.
pub(crate) fn message(message: &str) -> String {
    const CUT: &str = "…";
    // The cut-off part need not be scanned: escaping makes nothing shorter.
    let end = message.floor_char_boundary(4 * MAX_MESSAGE_BYTES);
    let mut shown = String::new();
    let mut cut_at = 0;
    for char in without_userinfo(&message[..end]).chars() {
        if shown.len() <= MAX_MESSAGE_BYTES - CUT.len() {
            cut_at = shown.len();
        }
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            // Writing to a string cannot fail.
            char => drop(write!(shown, "{}", char.escape_debug())),
        }
        if shown.len() > MAX_MESSAGE_BYTES {
            shown.truncate(cut_at);
            shown.push_str(CUT);
            break;
        }
    }
    shown
}

/// Removes the user and the password from every URL in a text.
pub(crate) fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let authority = part.find(['/', '?', '#', ' ', '"']).unwrap_or(part.len());
        let host = part[..authority].rfind('@').map_or(0, |at| at + 1);
        shown.push_str(&part[host..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_1_to_128_characters_of_a_few_kinds() {
        let longest = "L".repeat(128);
        for good in ["InternalFailure", "a.b_c:d#e-F9", &longest] {
            assert_eq!(code(good), good);
        }
        for bad in ["", " ", "é", "a b", "a\n", &format!("{longest}L")] {
            assert_eq!(code(bad), "Unreadable", "{bad:?}");
        }
    }

    #[test]
    fn a_message_is_escaped_where_it_does_not_print() {
        assert_eq!(message("it's \"no\", é"), "it's \"no\", é");
        assert_eq!(message("a\u{1b}[31mb\r\nc\0"), r"a\u{1b}[31mb\r\nc\0");
        assert_eq!(message("left\u{202e}right"), r"left\u{202e}right");
    }

    #[test]
    fn a_message_has_a_kib_at_most_and_is_cut_between_characters() {
        let longest = "m".repeat(1024);
        assert_eq!(message(&longest), longest);
        for (long, of) in [("m", 1025), ("é", 100_000), ("\u{1b}", 300), ("🦀", 257)] {
            let shown = message(&long.repeat(of));
            assert!((1015..=1024).contains(&shown.len()), "{}", shown.len());
            assert!(shown.ends_with('…'));
        }
    }

    #[test]
    fn passwords_in_urls_are_left_out() {
        for (text, shown) in [
            ("http://user:pass@host:80/a@b", "http://host:80/a@b"),
            ("to https://u:p@ss@host, then", "to https://host, then"),
            ("http://host/?q=a@b", "http://host/?q=a@b"),
            ("no URL: a@b", "no URL: a@b"),
        ] {
            assert_eq!(without_userinfo(text), shown);
        }
    }
}
