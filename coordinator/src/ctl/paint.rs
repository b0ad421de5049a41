//! Text with a meaning, and tables of it: columns without borders, coloured if wished.
//!
//! A table drops its least needed columns until it fits the terminal, and never wraps a row.

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

/// What a piece of text means to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Good,
    /// Look at it.
    Doubtful,
    /// Broken.
    Bad,
    /// Less important than the rest.
    Faint,
    /// A heading.
    Strong,
}

/// How output looks.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether to colour.
    pub colour: bool,
    /// Characters per line; `None`: as many as it takes.
    pub width: Option<usize>,
}

impl Look {
    /// `text`, coloured by its meaning if this look has colours.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Doubtful => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Faint => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        };
        if self.colour && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.into()
        }
    }
}

/// One cell of a table.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Text with a meaning. Control characters, which a peer may have put into it, are left out.
    pub fn new(tone: Tone, text: impl Into<String>) -> Cell {
        let text = text.into();
        let text = if text.is_empty() {
            "-".to_owned()
        } else {
            clean(&text)
        };
        Cell { text, tone }
    }

    /// Text that means nothing special.
    pub fn plain(text: impl Into<String>) -> Cell {
        Cell::new(Tone::Plain, text)
    }

    /// Nothing to say: "-".
    pub fn nothing() -> Cell {
        Cell::new(Tone::Faint, "-")
    }
}

/// Text without what could move a terminal's cursor.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A column, and when it is dropped.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    /// The column with the highest number goes first; 0 stays always.
    drop: u8,
}

impl Column {
    /// A column that stays.
    pub const fn kept(title: &'static str) -> Column {
        Column { title, drop: 0 }
    }

    /// A column that goes when there is no room; the highest number first.
    pub const fn dropped(title: &'static str, drop: u8) -> Column {
        Column { title, drop }
    }
}

/// Space between two columns.
const GAP: usize = 2;

/// The table as text, each line ended, with its titles in the first line.
pub fn table(columns: &[Column], rows: &[Vec<Cell>], look: Look) -> String {
    let mut shown = (0..columns.len()).collect::<Vec<_>>();
    loop {
        let table = lay_out(columns, rows, &shown);
        let widths = table.column_max_content_widths();
        let width = widths.iter().map(|w| usize::from(*w) + GAP).sum::<usize>();
        let last = shown.iter().copied().filter(|i| columns[*i].drop > 0);
        let last = last.max_by_key(|i| columns[*i].drop);
        match (look.width, last) {
            (Some(room), Some(last)) if width.saturating_sub(GAP) > room => {
                shown.retain(|i| *i != last);
            }
            (Some(_) | None, _) => return paint(&table, &widths, rows, &shown, look),
        }
    }
}

fn lay_out(columns: &[Column], rows: &[Vec<Cell>], shown: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(shown.iter().map(|i| columns[*i].title));
    for row in rows {
        table.add_row(shown.iter().map(|i| row[*i].text.as_str()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, u16::try_from(GAP).expect("a small gap")));
    }
    table
}

/// Colours what was laid out: the layout itself must not count what takes no room on screen.
fn paint(table: &Table, widths: &[u16], rows: &[Vec<Cell>], shown: &[usize], look: Look) -> String {
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let row = number.checked_sub(1).and_then(|row| rows.get(row));
        let line = line.trim_end();
        text.push_str(&match row {
            Some(row) if look.colour => paint_row(row, widths, shown, look),
            Some(_) => line.to_owned(),
            None => look.paint(Tone::Faint, line),
        });
        text.push('\n');
    }
    text
}

fn paint_row(row: &[Cell], widths: &[u16], shown: &[usize], look: Look) -> String {
    let mut text = String::new();
    let mut room = 0;
    for (column, width) in shown.iter().zip(widths) {
        let cell = &row[*column];
        text.push_str(&" ".repeat(room));
        text.push_str(&look.paint(cell.tone, &cell.text));
        room = (usize::from(*width) + GAP).saturating_sub(display_width(&cell.text));
    }
    text
}

/// Columns that a text takes on a terminal, by the layout's own measure.
fn display_width(text: &str) -> usize {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_row([text]);
    table
        .column_max_content_widths()
        .first()
        .copied()
        .map_or(0, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::kept("NAME"),
        Column::dropped("LOAD", 1),
        Column::dropped("VERSION", 2),
    ];

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![
                Cell::new(Tone::Bad, "node-1"),
                Cell::plain("0.5"),
                Cell::nothing(),
            ],
            vec![
                Cell::plain("日本\u{1b}[31m"),
                Cell::new(Tone::Good, ""),
                Cell::plain("0.1.0"),
            ],
        ]
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_space_at_their_end() {
        let look = Look {
            colour: false,
            width: None,
        };
        let text = table(&COLUMNS, &rows(), look);
        assert_eq!(
            text,
            "NAME       LOAD  VERSION\nnode-1     0.5   -\n日本 [31m  -     0.1.0\n"
        );
    }

    #[test]
    fn colours_change_nothing_else() {
        let plain = table(
            &COLUMNS,
            &rows(),
            Look {
                colour: false,
                width: None,
            },
        );
        let coloured = table(
            &COLUMNS,
            &rows(),
            Look {
                colour: true,
                width: None,
            },
        );
        assert_ne!(plain, coloured);
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn columns_are_dropped_until_the_table_fits() {
        let first = |width| {
            let text = table(
                &COLUMNS,
                &rows(),
                Look {
                    colour: false,
                    width: Some(width),
                },
            );
            text.lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(first(80), "NAME       LOAD  VERSION");
        assert_eq!(first(20), "NAME       LOAD");
        assert_eq!(first(3), "NAME");
    }
}
