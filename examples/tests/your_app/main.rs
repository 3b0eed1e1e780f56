//! The tests shown in `docs/testing-your-app.md`, word for word, each in its own file.

mod arrival;
mod counting;
mod discarding;

/// Removes whitespace, which may differ between a page and a file.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn the_page_shows_these_tests() {
    let page = squeezed(include_str!("../../../docs/testing-your-app.md"));
    for file in [
        include_str!("arrival.rs"),
        include_str!("counting.rs"),
        include_str!("discarding.rs"),
    ] {
        let Some((_, code)) = file.split_once("\n\n") else {
            unreachable!("a file begins with what it is for");
        };
        assert!(page.contains(&squeezed(code)), "{code}");
    }
}
