//! Tables that fit the terminal: where the columns do not, the least important ones go first, and
//! then the first column is cut.
//!
//! Invariant: no line is wider than asked for, as long as the columns that must stay are narrower.

use super::text::{Paint, Tone, cut, wrap};

/// Which side of its column a cell stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    title: &'static str,
    side: Side,
    /// 0 stays; of the others the highest goes first when there is no room.
    rank: u8,
}

/// A column for words.
pub(crate) const fn words(title: &'static str) -> Column {
    Column {
        title,
        side: Side::Left,
        rank: 0,
    }
}

/// A column for numbers.
pub(crate) const fn numbers(title: &'static str) -> Column {
    Column {
        title,
        side: Side::Right,
        rank: 0,
    }
}

impl Column {
    /// The same, but it may go: the highest rank goes first.
    pub(crate) const fn may_go(mut self, rank: u8) -> Column {
        self.rank = rank;
        self
    }
}

/// A cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell {
            text: text.into(),
            tone,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::new(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::new(text, Tone::Plain)
    }
}

#[derive(Clone, Debug)]
enum Row {
    Cells(Vec<Cell>),
    /// A remark under the row before, over all columns.
    Remark(String, Tone),
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// Columns of space before each line.
const INDENT: usize = 2;

/// Columns from this rank on go before the space between columns is halved.
const AIRLESS_RANK: u8 = 5;

/// Narrowest that the first column is cut to.
const FIRST_MIN: usize = 8;

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: Vec<Column>) -> Table {
        Table {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells that are missing at its end are empty.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert!(cells.len() <= self.columns.len(), "a cell without a column");
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a remark under the last row.
    pub(crate) fn remark(&mut self, text: impl Into<String>, tone: Tone) {
        self.rows.push(Row::Remark(text.into(), tone));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table in lines of at most `width` columns, title first.
    pub(crate) fn lines(&self, width: usize, paint: Paint) -> Vec<String> {
        let room = width.saturating_sub(INDENT);
        let natural: Vec<usize> = (0..self.columns.len()).map(|at| self.natural(at)).collect();
        let (shown, gap) = self.fit(&natural, room);
        let mut widths = natural;
        let rest: usize = shown.iter().skip(1).map(|at| widths[*at] + gap).sum();
        if let Some(first) = shown.first() {
            let most = room.saturating_sub(rest).max(FIRST_MIN);
            widths[*first] = widths[*first].min(most);
        }
        let titles: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::new(column.title, Tone::Dim))
            .collect();
        let mut lines = vec![self.line(&titles, &shown, &widths, gap, paint)];
        for row in &self.rows {
            match row {
                Row::Cells(cells) => lines.push(self.line(cells, &shown, &widths, gap, paint)),
                Row::Remark(text, tone) => {
                    let indent = 2 * INDENT;
                    for line in wrap(text, width.saturating_sub(indent)) {
                        lines.push(" ".repeat(indent) + &paint.paint(&line, *tone));
                    }
                }
            }
        }
        lines
    }

    /// How wide a column is when nothing is cut.
    fn natural(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| match row {
            Row::Cells(cells) => cells.get(at),
            Row::Remark(..) => None,
        });
        cells
            .map(|cell| cell.text.chars().count())
            .chain([self.columns[at].title.chars().count()])
            .max()
            .unwrap_or(0)
    }

    /// The columns to show, and the space between them.
    fn fit(&self, natural: &[usize], room: usize) -> (Vec<usize>, usize) {
        // A column in which no row has anything is not worth its title.
        let is_used = |at: &usize| {
            *at == 0
                || self.rows.iter().any(|row| match row {
                    Row::Cells(cells) => cells.get(*at).is_some_and(|cell| !cell.text.is_empty()),
                    Row::Remark(..) => false,
                })
        };
        let mut shown: Vec<usize> = (0..self.columns.len()).filter(is_used).collect();
        loop {
            let fits = |gap: usize| {
                let total: usize = shown.iter().map(|at| natural[*at] + gap).sum();
                total.saturating_sub(gap) <= room
            };
            let least = shown
                .iter()
                .copied()
                .max_by_key(|at| self.columns[*at].rank)
                .map_or((0, 0), |at| (self.columns[at].rank, at));
            match least {
                _ if fits(2) => return (shown, 2),
                // Air between the columns is worth more than the least of them, but no more.
                (0..AIRLESS_RANK, _) if fits(1) => return (shown, 1),
                (0, _) => return (shown, 1),
                (_, goes) => shown.retain(|at| *at != goes),
            }
        }
    }

    fn line(
        &self,
        cells: &[Cell],
        shown: &[usize],
        widths: &[usize],
        gap: usize,
        paint: Paint,
    ) -> String {
        let mut line = " ".repeat(INDENT);
        let empty = Cell::default();
        for (place, at) in shown.iter().enumerate() {
            if place > 0 {
                line.push_str(&" ".repeat(gap));
            }
            let cell = cells.get(*at).unwrap_or(&empty);
            let text = cut(&cell.text, widths[*at]);
            let space = " ".repeat(widths[*at] - text.chars().count());
            let text = paint.paint(&text, cell.tone);
            match self.columns[*at].side {
                Side::Left => {
                    line.push_str(&text);
                    line.push_str(&space);
                }
                Side::Right => {
                    line.push_str(&space);
                    line.push_str(&text);
                }
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(vec![
            words("hop"),
            numbers("p99"),
            numbers("msgs").may_go(1),
            numbers("rate").may_go(2),
        ]);
        table.row(vec![
            "btc->book".into(),
            "1.21us".into(),
            "250,113".into(),
            "25.0k".into(),
        ]);
        table.remark("shed 3", Tone::Warn);
        table
    }

    #[test]
    fn numbers_stand_right_under_their_titles() {
        assert_eq!(
            table().lines(80, Paint(false)),
            [
                "  hop           p99     msgs   rate",
                "  btc->book  1.21us  250,113  25.0k",
                "    shed 3"
            ]
        );
    }

    #[test]
    fn the_least_important_column_goes_first_and_then_the_name_is_cut() {
        assert!(table().lines(33, Paint(false))[0].ends_with("rate"));
        assert!(table().lines(29, Paint(false))[0].ends_with("msgs"));
        assert!(table().lines(20, Paint(false))[0].ends_with("p99"));
        assert_eq!(table().lines(17, Paint(false))[1], "  btc->bo… 1.21us");
        for width in 17..60 {
            for line in table().lines(width, Paint(false)) {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn an_empty_column_is_not_shown() {
        let mut table = Table::new(vec![words("hop"), numbers("shed")]);
        table.row(vec!["a".into(), "".into()]);
        assert_eq!(table.lines(80, Paint(false))[0], "  hop");
    }
}
