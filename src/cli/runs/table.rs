//! Lays rows out in columns that fit a terminal: the least important columns are left out, one is shortened.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::{
    plain,
    terminal::{Colour, Terminal},
};

/// Between two columns.
const GAP: &str = "  ";
/// The widest that a column is, but for the first and the elastic one, on a terminal.
const WIDEST: usize = 24;
/// The least that is left of the elastic column.
const NARROWEST: usize = 10;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) head: &'static str,
    /// 0 is never left out; those of the highest rank go first.
    pub(super) rank: u8,
    /// Whether it takes what the others leave.
    pub(super) elastic: bool,
}

/// One cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// A cell with text from elsewhere.
    pub(super) fn new(text: &str, colour: Option<Colour>) -> Self {
        Self {
            text: plain::line(text),
            colour,
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(&text.to_string(), None)
    }
}

/// The rows below their heads, a line each. Where there is no width nothing is left out or shortened. None if not
/// even the columns of rank 0 fit.
pub(super) fn lay_out(
    columns: &[Column],
    rows: &[Vec<Cell>],
    terminal: &Terminal,
) -> Option<String> {
    let natural: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().map(|row| row[at].text.width());
            let widest = cells.max().unwrap_or(0).max(column.head.len());
            let bounded = terminal.width.is_some() && at > 0 && !column.elastic;
            if bounded { widest.min(WIDEST) } else { widest }
        })
        .collect();
    let widths = fit(columns, &natural, terminal.width)?;
    let heads: Vec<Cell> = columns
        .iter()
        .map(|column| Cell {
            text: column.head.to_owned(),
            colour: Some(Colour::Bold),
        })
        .collect();
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .filter_map(|(cell, width)| Some((cell, (*width)?)))
            .collect();
        for (at, (cell, width)) in cells.iter().enumerate() {
            let short = shorten(&cell.text, *width);
            let missing = width.saturating_sub(short.width());
            text.push_str(if at == 0 { "" } else { GAP });
            text.push_str(&terminal.coloured(&short, cell.colour.filter(|_| !short.is_empty())));
            if at + 1 < cells.len() {
                text.push_str(&" ".repeat(missing));
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    Some(text)
}

/// The width of each column; none for one that is left out.
fn fit(columns: &[Column], natural: &[usize], width: Option<usize>) -> Option<Vec<Option<usize>>> {
    let Some(width) = width else {
        return Some(natural.iter().copied().map(Some).collect());
    };
    let least = |at: usize| {
        if columns[at].elastic {
            natural[at].min(NARROWEST)
        } else {
            natural[at]
        }
    };
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|at| columns[*at].rank);
    let (mut widths, mut used) = (vec![None; columns.len()], 0);
    for at in order {
        let gap = if used == 0 { 0 } else { GAP.len() };
        let fits = used + gap + least(at) <= width;
        if !fits && columns[at].rank == 0 {
            return None;
        }
        if !fits {
            break;
        }
        used += gap + least(at);
        widths[at] = Some(least(at));
    }
    for (at, column) in columns.iter().enumerate() {
        if let (true, Some(taken)) = (column.elastic, &mut widths[at]) {
            let more = (natural[at] - *taken).min(width - used);
            *taken += more;
            used += more;
        }
    }
    Some(widths)
}

/// `text` within `width` columns; `…` stands for what is missing.
fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut short, mut used) = (String::new(), 1);
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 4] = [
        Column {
            head: "ID",
            rank: 0,
            elastic: false,
        },
        Column {
            head: "STATE",
            rank: 0,
            elastic: false,
        },
        Column {
            head: "ROUTE",
            rank: 2,
            elastic: false,
        },
        Column {
            head: "NAME",
            rank: 1,
            elastic: true,
        },
    ];

    fn terminal(width: Option<usize>) -> Terminal {
        Terminal {
            width,
            shown: width.is_some(),
            colours: false,
        }
    }

    fn laid_out(cells: [&str; 4], width: Option<usize>) -> Option<String> {
        lay_out(
            &COLUMNS,
            &[cells.map(Cell::from).to_vec()],
            &terminal(width),
        )
    }

    #[test]
    fn columns_go_by_rank_and_one_gives_way() {
        let row = [
            "12345678",
            "failed",
            "application",
            "/a/long/path/of/an/application",
        ];
        let at = |width| laid_out(row, width).unwrap();
        let whole = "ID        STATE   ROUTE        NAME\n\
                     12345678  failed  application  /a/long/path/of/an/application\n";
        assert_eq!(at(None), whole);
        assert_eq!(at(Some(61)), whole);
        assert_eq!(at(Some(60)), whole.replace("application\n", "applicati…\n"));
        let narrow = "ID        STATE   NAME\n12345678  failed  /a/long/p…\n";
        assert_eq!(at(Some(28)), narrow);
        assert_eq!(at(Some(27)), "ID        STATE\n12345678  failed\n");
        assert_eq!(at(Some(16)), "ID        STATE\n12345678  failed\n");
        assert_eq!(laid_out(row, Some(15)), None);
    }

    #[test]
    fn wide_characters_count_twice() {
        let shown = laid_out(["1", "走る", "r", "/请求请求请求请求"], Some(23)).unwrap();
        assert_eq!(
            shown,
            "ID  STATE  NAME\n1   走る   /请求请求请求…\n".replace("请求请求请求…", "请求请求请…")
        );
    }

    #[test]
    fn colours_are_only_on_terminals_that_have_them() {
        let row = vec![Cell::new("x", Some(Colour::Red))];
        let column = [Column {
            head: "A",
            rank: 0,
            elastic: false,
        }];
        let mut terminal = terminal(Some(80));
        assert_eq!(
            lay_out(&column, std::slice::from_ref(&row), &terminal).unwrap(),
            "A\nx\n"
        );
        terminal.colours = true;
        let coloured = lay_out(&column, &[row], &terminal).unwrap();
        assert_eq!(coloured, "\x1b[1mA\x1b[0m\n\x1b[31mx\x1b[0m\n");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal_and_nothing_steers_it(
            rows in proptest::collection::vec(proptest::array::uniform4(".{0,60}"), 0..5),
            width in 1..200_usize,
        ) {
            let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(Cell::from).to_vec()).collect();
            if let Some(text) = lay_out(&COLUMNS, &rows, &terminal(Some(width))) {
                prop_assert_eq!(text.lines().count(), rows.len() + 1);
                for line in text.lines() {
                    prop_assert!(line.width() <= width, "{line:?}");
                    prop_assert!(!line.chars().any(char::is_control));
                }
            }
        }
    }
}
