//! The tests that `docs/testing-your-app.md` shows, each in a file of its own, word for word.

mod arrival;
mod counting;

/// Without the spaces, by which a page and a file may differ.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn the_page_shows_these_tests() {
    let page = squeezed(include_str!("../../../docs/testing-your-app.md"));
    for file in [include_str!("arrival.rs"), include_str!("counting.rs")] {
        let Some((_, code)) = file.split_once("\n\n") else {
            unreachable!("a file begins with what it is for");
        };
        assert!(page.contains(&squeezed(code)), "{code}");
    }
}
