//! The live view: an interval on a terminal.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line as TextLine, Span, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};

use super::interval::{Interval, Line};
use super::text::{columns, duration, headline, thousands, titles};

/// A part of the whole: `share` of `width` cells, to an eighth of one.
fn bar(share: f64, width: u16) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * f64::from(width) * 8.0).round() as usize;
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(PARTS[eighths % 8]);
    }
    text
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::new(Text::from(text.into()).alignment(Alignment::Right))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

const DURATION: Constraint = Constraint::Length(8);

/// Lines of durations with their shares as bars.
fn durations(frame: &mut Frame<'_>, area: Rect, title: &str, name_width: u16, lines: &[Line]) {
    let numbers = titles().len() as u16;
    // Name, share, numbers, the spaces between, the frame.
    let taken = name_width + 7 + numbers * 9 + 2 + 2;
    let bar_width = area.width.saturating_sub(taken);
    let header = ["", "", "share"].into_iter().chain(titles());
    let header = Row::new(header.map(right)).style(Style::new().dim());
    let rows = lines.iter().map(|line| {
        let mostly = line.mostly.as_ref().map(|(stage, share)| format!("{stage} {:.0} %", share * 100.0));
        let bar = mostly.unwrap_or_else(|| bar(line.share, bar_width));
        let cells =
            [Cell::new(line.name.clone()), Cell::new(bar).fg(Color::Cyan), right(percent(line.share))];
        let row = Row::new(cells.into_iter().chain(columns(&line.durations).into_iter().map(right)));
        if line.name == "total" { row.bold() } else { row }
    });
    let widths = [Constraint::Length(name_width), Constraint::Length(bar_width), Constraint::Length(7)];
    let widths = widths.into_iter().chain((0..numbers).map(|_| DURATION));
    let table = Table::new(rows, widths).header(header).block(Block::bordered().title(title.to_owned()));
    frame.render_widget(table, area);
}

fn cores(frame: &mut Frame<'_>, area: Rect, interval: &Interval) {
    let header = ["core", "req/s", "p50", "p99", "p99.99", "sync p99", "syncing"];
    let header = Row::new(header.map(right)).style(Style::new().dim());
    let rows = interval.cores.iter().map(|core| {
        let total = core.series.get("stage/total").cloned().unwrap_or_default();
        let sync = core.series.get("sync/write").cloned().unwrap_or_default();
        let of_total = [0.5, 0.99, 0.9999].map(|share| duration(total.quantile(share)));
        let others = [duration(sync.quantile(0.99)), duration(core.syncing)];
        let cells = [core.core.to_string(), thousands(core.requests)];
        Row::new(cells.into_iter().chain(of_total).chain(others).map(right))
    });
    let widths = [4, 10, 8, 8, 8, 8, 8].map(Constraint::Length);
    frame.render_widget(
        Table::new(rows, widths).header(header).block(Block::bordered().title(" cores ")),
        area,
    );
}

fn stalls(frame: &mut Frame<'_>, area: Rect, interval: &Interval) {
    let rows = interval.stalls().into_iter().map(|(class, counts, longest)| {
        let any = counts.iter().any(|count| *count > 0);
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        let row = Row::new([Cell::new(class), right(counts.join(" ")), right(duration(longest))]);
        if any { row.fg(Color::Red) } else { row.dim() }
    });
    let widths = [Constraint::Length(10), Constraint::Fill(1), DURATION];
    let title = " stalls: class, on each core, longest ";
    frame.render_widget(Table::new(rows, widths).block(Block::bordered().title(title)), area);
}

fn clients(frame: &mut Frame<'_>, area: Rect, interval: &Interval) {
    let lines = interval.untaken.iter().map(|client| {
        TextLine::from(vec![
            Span::from(format!("{} {} {}", client.id, client.address, client.name)).fg(Color::Red),
            Span::from(format!(
                "  core {}  {} bytes, nothing taken for {}",
                client.core,
                client.bytes,
                duration(client.nanos)
            )),
        ])
    });
    let block = Block::bordered().title(" clients that do not take their replies ");
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

/// Draws an interval of the server at `address`; `standing`: it stays as it is for now.
pub fn draw(frame: &mut Frame<'_>, address: &str, interval: &Interval, standing: bool) {
    let (stages, commands, syncs) = (interval.stages(), interval.commands(), interval.syncs());
    let height = |lines: usize, more: usize| Constraint::Length((lines + more) as u16);
    let untaken = if interval.untaken.is_empty() { 0 } else { interval.untaken.len().min(8) + 2 };
    let middle = (interval.stalls().len() + 2).max(interval.cores.len() + 3);
    let areas = Layout::vertical([
        Constraint::Length(1),
        height(stages.len(), 3),
        height(middle, 0),
        height(untaken, 0),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [top, stage_area, middle, client_area, command_area, bottom] = areas.areas(frame.area());
    let title = TextLine::from(vec![
        Span::from(format!(" pinion {address} ")).bold().reversed(),
        Span::from(format!(" {}", headline(interval))),
    ]);
    frame.render_widget(Paragraph::new(title), top);
    durations(frame, stage_area, " stages of all requests ", 10, &stages);
    let [left, right] = Layout::horizontal([Constraint::Length(68), Constraint::Min(30)]).areas(middle);
    let [core_area, sync_area] =
        Layout::vertical([height(interval.cores.len(), 3), Constraint::Fill(1)]).areas(left);
    cores(frame, core_area, interval);
    sync_times(frame, sync_area, &syncs);
    stalls(frame, right, interval);
    if untaken > 0 {
        clients(frame, client_area, interval);
    }
    durations(frame, command_area, " commands, by the time that they took together ", 18, &commands);
    let keys = if standing { " q quit  space go on " } else { " q quit  space stand still " };
    frame.render_widget(Paragraph::new(keys).dim(), bottom);
}

fn sync_times(frame: &mut Frame<'_>, area: Rect, lines: &[Line]) {
    let header = ["", "count"].into_iter().chain(titles());
    let header = Row::new(header.map(right)).style(Style::new().dim());
    let rows = lines.iter().map(|line| {
        let cells = [Cell::new(line.name.clone()), right(line.durations.count.to_string())];
        Row::new(cells.into_iter().chain(columns(&line.durations).into_iter().map(right)))
    });
    let widths = [Constraint::Length(9), Constraint::Length(5)];
    let widths = widths.into_iter().chain((0..titles().len()).map(|_| Constraint::Length(7)));
    let block = Block::bordered().title(" syncs of the disk ");
    frame.render_widget(Table::new(rows, widths).header(header).block(block), area);
}
