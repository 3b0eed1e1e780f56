//! Tables, on the terminal and in Markdown.

use std::fmt::Write as _;

use crate::progress;

/// A table with a heading.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The header has the names of the columns, with ` | ` between them.
    pub(crate) fn new(title: impl Into<String>, header: &str) -> Self {
        Self {
            title: title.into(),
            header: header.split(" | ").map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub(crate) fn print(&self) {
        let mut table = progress::table(&self.header);
        table.add_rows(&self.rows);
        println!("\n{}\n{table}", self.title);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n", self.title);
        let mut line = |cells: &[String]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        line(&self.header);
        line(&vec!["---".to_owned(); self.header.len()]);
        self.rows.iter().for_each(|row| line(row));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_table_becomes_markdown() {
        let mut table = Table::new("T", "a | b");
        table.row(["1", "2"]);
        assert_eq!(
            table.markdown(),
            "**T**\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"
        );
    }
}
