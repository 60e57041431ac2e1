//! Tables with aligned columns that fit the terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Between two columns.
pub(super) const GAP: &str = "  ";
/// The end of a shortened cell.
const ELLIPSIS: &str = "…";

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    is_right_aligned: bool,
    /// The width to which it is shortened before columns are left out; the width of its cells if `None`.
    soft_min: Option<usize>,
    /// The width to which it is shortened after that.
    hard_min: Option<usize>,
    /// Columns with a higher number are left out first; 0: never.
    drop_order: u8,
}

impl Column {
    /// A column that always has its complete cells.
    pub(super) const fn new(title: &'static str) -> Self {
        Self { title, is_right_aligned: false, soft_min: None, hard_min: None, drop_order: 0 }
    }

    /// Aligns it on the right.
    pub(super) const fn right(mut self) -> Self {
        self.is_right_aligned = true;
        self
    }

    /// Allows shortening its cells to the first width before columns are left out, and to the second after that.
    pub(super) const fn shrinks_to(mut self, soft_min: usize, hard_min: usize) -> Self {
        (self.soft_min, self.hard_min) = (Some(soft_min), Some(hard_min));
        self
    }

    /// Allows shortening its cells to this width after columns were left out.
    pub(super) const fn shrinks_last(mut self, hard_min: usize) -> Self {
        self.hard_min = Some(hard_min);
        self
    }

    /// Allows leaving it out; columns with higher numbers first.
    pub(super) const fn drops(mut self, order: u8) -> Self {
        self.drop_order = order;
        self
    }
}

/// Formats rows in aligned columns, whose widths never shrink from one page of rows to the next. Which columns are left
/// out is decided with the first page.
pub(super) struct Table<const COLUMNS: usize> {
    columns: [Column; COLUMNS],
    widths: [usize; COLUMNS],
    is_dropped: [bool; COLUMNS],
    /// The width of the terminal; `None` without one.
    limit: Option<usize>,
    has_head: bool,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table within this width; `None` for no limit.
    pub(super) fn new(columns: [Column; COLUMNS], limit: Option<usize>) -> Self {
        let (widths, is_dropped) = ([0; COLUMNS], [false; COLUMNS]);
        Self { columns, widths, is_dropped, limit, has_head: false }
    }

    /// The head, before the first row of the table only.
    pub(super) fn head(&mut self) -> Option<[String; COLUMNS]> {
        (!std::mem::replace(&mut self.has_head, true))
            .then(|| self.columns.map(|column| column.title.to_owned()))
    }

    /// The rows as lines without trailing spaces.
    pub(super) fn lines(&mut self, rows: &[[String; COLUMNS]]) -> Vec<String> {
        let is_first = self.widths.iter().all(|width| *width == 0);
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let Some(limit) = self.limit {
            self.fit(limit, is_first);
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    /// The width of its lines.
    pub(super) fn width(&self) -> usize {
        let shown = (0..COLUMNS).filter(|index| !self.is_dropped[*index]);
        let widths = shown.map(|index| self.widths[index] + GAP.len());
        widths.sum::<usize>().saturating_sub(GAP.len())
    }

    /// Shortens cells, and leaves out columns if that is not enough.
    fn fit(&mut self, limit: usize, may_drop: bool) {
        let soft = |column: &Column| column.soft_min;
        while may_drop && self.spare(soft) < self.excess(limit) {
            let dropped = (0..COLUMNS)
                .filter(|index| !self.is_dropped[*index] && self.columns[*index].drop_order > 0)
                .max_by_key(|index| self.columns[*index].drop_order);
            let Some(index) = dropped else { break };
            self.is_dropped[index] = true;
        }
        self.shrink(limit, soft);
        self.shrink(limit, |column| column.hard_min);
    }

    fn excess(&self, limit: usize) -> usize {
        self.width().saturating_sub(limit)
    }

    /// How much shorter a column can be.
    fn spare_of(&self, index: usize, min: impl Fn(&Column) -> Option<usize>) -> usize {
        let min = min(&self.columns[index]).filter(|_| !self.is_dropped[index]);
        min.map_or(0, |min| self.widths[index].saturating_sub(min))
    }

    fn spare(&self, min: impl Fn(&Column) -> Option<usize> + Copy) -> usize {
        (0..COLUMNS).map(|index| self.spare_of(index, min)).sum()
    }

    /// Shortens columns, those with the most spare width first.
    fn shrink(&mut self, limit: usize, min: impl Fn(&Column) -> Option<usize> + Copy) {
        loop {
            let excess = self.excess(limit);
            let widest = (0..COLUMNS).max_by_key(|index| self.spare_of(*index, min));
            let Some(index) = widest else { return };
            let reduced = self.spare_of(index, min).min(excess);
            if reduced == 0 {
                return;
            }
            self.widths[index] -= reduced;
        }
    }

    fn line(&self, row: &[String; COLUMNS]) -> String {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate().filter(|(index, _)| !self.is_dropped[*index]) {
            if !line.is_empty() {
                line.push_str(GAP);
            }
            let cell = match self.limit {
                Some(_) if self.columns[index].hard_min.is_some() => {
                    shortened(cell, self.widths[index])
                }
                _ => cell.clone(),
            };
            let blanks = " ".repeat(self.widths[index].saturating_sub(cell.width()));
            if self.columns[index].is_right_aligned {
                line.push_str(&blanks);
                line.push_str(&cell);
            } else {
                line.push_str(&cell);
                line.push_str(&blanks);
            }
        }
        line.trim_end().to_owned()
    }
}

/// The text, or its start and an ellipsis, in at most this width.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut start = String::new();
    let mut left = width.saturating_sub(1);
    for character in text.chars() {
        let Some(rest) = left.checked_sub(character.width().unwrap_or(0)) else { break };
        left = rest;
        start.push(character);
    }
    start + ELLIPSIS
}

/// The text in lines of at most this width, broken at spaces. A longer word has a line of its own.
pub(super) fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The shortest starts of ids that are unique among them, at least 8 characters each.
pub(super) fn unique_starts(ids: &[&str]) -> Vec<String> {
    const MIN: usize = 8;
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let common = |left: &str, right: &str| {
        left.chars().zip(right.chars()).take_while(|(left, right)| left == right).count()
    };
    ids.iter()
        .map(|id| {
            let index = sorted.binary_search(id).unwrap_or_default();
            let before = index.checked_sub(1).and_then(|index| sorted.get(index));
            let neighbours = before.into_iter().chain(sorted.get(index + 1));
            let shared = neighbours.map(|other| common(id, other)).max().unwrap_or_default();
            id.chars().take(MIN.max(shared + 1)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::new("NAME").shrinks_to(8, 4),
        Column::new("SIZE").right().drops(1),
        Column::new("STATE"),
    ];

    fn row(cells: [&str; 3]) -> [String; 3] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_are_aligned_by_display_width() {
        let mut table = Table::new(COLUMNS, None);
        let lines = table.lines(&[row(["文書", "1", "x"]), row(["abc", "100", ""])]);
        assert_eq!(lines, ["文書    1  x", "abc   100"]);
        // The next page keeps the widths of the previous one.
        assert_eq!(table.lines(&[row(["a", "2", "y"])]), ["a       2  y"]);
    }

    #[test]
    fn cells_are_shortened_before_columns_are_left_out() {
        let rows = [row(["document.docx", "1 KiB", "running"])];
        let lines = |limit| Table::new(COLUMNS, Some(limit)).lines(&rows);
        assert_eq!(lines(29), ["document.docx  1 KiB  running"]);
        assert_eq!(lines(24), ["documen…  1 KiB  running"]);
        assert_eq!(lines(23), ["document.docx  running"]);
        assert_eq!(lines(17), ["documen…  running"]);
        assert_eq!(lines(13), ["doc…  running"]);
        assert_eq!(lines(1), ["doc…  running"], "what is left is complete");
    }

    #[test]
    fn long_texts_are_wrapped_at_spaces() {
        assert_eq!(wrapped("one two three", Some(8)), ["one two", "three"]);
        assert_eq!(wrapped("a/very/long/path and", Some(8)), ["a/very/long/path", "and"]);
        assert_eq!(wrapped("one two three", None), ["one two three"]);
    }

    #[test]
    fn starts_of_ids_are_unique() {
        let ids = ["6f1c7a52-3b0e", "6f1c7a52-3b1e", "0011223344"];
        assert_eq!(unique_starts(&ids), ["6f1c7a52-3b0", "6f1c7a52-3b1", "00112233"]);
        assert_eq!(unique_starts(&["abc", "abc"]), ["abc", "abc"]);
    }

    proptest! {
        #[test]
        fn rows_never_exceed_the_terminal(
            cells in prop::collection::vec(("\\PC{0,60}", "[0-9]{0,9}", "[a-z]{0,9}"), 1..5),
            limit in 16_usize..120,
        ) {
            let rows: Vec<_> =
                cells.into_iter().map(|(name, size, state)| [name, size, state]).collect();
            let mut table = Table::new(COLUMNS, Some(limit));
            for line in table.lines(&rows) {
                prop_assert!(line.width() <= limit, "{line}");
            }
        }
    }
}
