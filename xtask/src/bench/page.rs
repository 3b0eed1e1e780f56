//! Writes results to `docs/performance.md`, between the marks of their part, and charts beside it.

use std::fs;

use anyhow::{Context, Result};

use super::effort::Effort;
use super::measured::Measured;
use super::verdict;
use crate::flags::{Part, name};
use crate::shell;

const PAGE: &str = "docs/performance.md";
/// The directory of the charts, relative to the page.
const CHARTS: &str = "pictures";

/// Replaces a part's section of the page.
pub(crate) fn write(part: Part, effort: Effort, machine: &str, measured: &Measured) -> Result<()> {
    let path = shell::workspace().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let content = content(effort, machine, measured);
    let page = replaced(&page, &name(&part), &content)?;
    let charts = path.with_file_name(CHARTS);
    fs::create_dir_all(&charts)?;
    for chart in &measured.charts {
        chart.draw(&charts)?;
    }
    Ok(fs::write(&path, page)?)
}

fn content(effort: Effort, machine: &str, measured: &Measured) -> String {
    let effort = match effort {
        Effort::Full => "a full run",
        Effort::Quick => "a quick run",
    };
    let mut content = format!("Measured in {effort} on {machine}.\n\n");
    for chart in &measured.charts {
        content.push_str(&format!(
            "![{}]({CHARTS}/{})\n\n",
            chart.title,
            chart.file()
        ));
    }
    if !measured.verdicts.is_empty() {
        content.push_str(&verdict::table(&measured.verdicts).markdown());
        content.push('\n');
    }
    let tables: Vec<String> = measured
        .tables
        .iter()
        .map(|table| table.markdown())
        .collect();
    content.push_str(&tables.join("\n"));
    content
}

fn replaced(page: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- measured: {name} -->\n"), "<!-- end -->");
    let missing = || format!("{PAGE} has no place for {name}");
    let (before, rest) = page.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{content}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn only_the_part_itself_is_replaced() {
        let page =
            "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        let expected = "a\n<!-- measured: x -->\n\nnew\n\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        assert_eq!(replaced(page, "x", "new\n").unwrap(), expected);
        assert!(replaced(page, "z", "").is_err());
    }
}
