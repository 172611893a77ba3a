"""Every key of the launcher: one table per screen, in the order of its footer.

Footer, help, palette and the user's own `keys.toml` all read these tables.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from textual.binding import Binding, BindingType


class Key(NamedTuple):
    """One action of a screen or widget.

    Attributes:
        name: of the action within its table; `table.name` is the binding's id.
        keys: with commas between.
        label: a word or two for the footer.
        about: what it does, for help and palette; empty where the label says it.
        action: of Textual; the name if left out.
        footer: whether the footer shows it.
        priority: whether it works in dialogs and text fields, too.
    """

    name: str
    keys: str
    label: str
    about: str = ""
    action: str = ""
    footer: bool = True
    priority: bool = False


_more = partial(Key, footer=False)
_screens = Binding.Group("Screens", compact=True)

TABLES: dict[str, tuple[Key, ...]] = {
    "app": (
        Key("runs", "1,f1", "Runs", "The list of runs", "show('runs')"),
        Key("recipes", "2,f2", "Recipes", "The list of recipes", "show('recipes')"),
        Key("queue", "3,f3", "Queue", "What waits and what runs", "show('queue')"),
        _more("help", "question_mark", "Help", "About this screen and its keys"),
        _more("theme", "ctrl+t", "Dark / light", "", "toggle_dark"),
        _more("quit", "ctrl+q", "Quit", "Runs and the queue continue", priority=True),
    ),
    "every": (
        _more("down", "j", "Down", "", "screen.move('down')"),
        _more("up", "k", "Up", "", "screen.move('up')"),
        _more("top", "g,home", "First", "To the first line", "screen.move('top')"),
        _more("bottom", "G,end", "Last", "To the last line", "screen.move('bottom')"),
        _more("leave", "q", "Back"),
        Key("back", "escape", "Back", "", "leave"),
    ),
    "runs": (
        Key("open", "enter", "Open", "Show the run, or what is in it", "select_cursor"),
        Key("filter", "slash", "Filter", "By words, numbers, dates and tags"),
        Key("mark", "space", "Mark", "For a comparison, or an action on several"),
        Key("compare", "c", "Compare", "The marked runs, or this one"),
        _more("clear", "escape", "Clear", "Remove the filter, then the marks"),
        _more("sort", "s", "Sort", "By the next column"),
        _more("turn", "S", "Reverse", "Reverse the order"),
        _more("export", "x", "Export", "Write the table to a file"),
        _more("detail", "d", "Detail", "Show or hide the run below the list"),
        _more("columns", "v", "Columns", "Choose the columns of the list"),
        _more("mark_all", "A", "Mark all", "Mark all runs of the list, or none"),
    ),
    "run": (
        Key("stop", "ctrl+k", "Stop", "After this batch; again to kill", "stop_run"),
        Key("resume", "r", "Resume", "From where it stopped", "resume_run"),
        Key("evaluate", "e", "Evaluate", "With attacks you choose", "evaluate_run"),
        _more("report", "R", "Report", "Accuracy under each attack", "report_run"),
        _more(
            *("robustness", "i", "Robustness"),
            *("Classes, confusion and adversarial images", "robustness_run"),
        ),
        _more("delete", "delete,D", "Delete", "Move to the trash", "delete_run"),
        _more("restore", "u", "Undelete", "The last run deleted", "restore_run"),
        _more("rename", "f6", "Rename", "", "rename_run"),
        _more("tags", "number_sign", "Tags", "Words to find the run by", "tag_run"),
        _more("note", "W", "Note", "A line about the run", "note_run"),
    ),
    "live": (
        Key("plot", "t", "Plot", "Show the next plot", "plot(1)"),
        Key("curves", "v", "Curves", "Choose plots and curves"),
        Key("smooth", "m", "Smooth", "Average over epochs"),
        Key("phase", "p", "Phase", "Curves of the student or a teacher"),
        _more("plot_before", "T", "Plot before", "", "plot(-1)"),
        _more("smoother", "plus", "Smoother", "Use more epochs", "strengthen(1)"),
        _more("rougher", "minus", "Rougher", "Use fewer epochs", "strengthen(-1)"),
        _more("log", "l", "Log", "Show or hide the log", "pane('log')"),
        _more("numbers", "b", "Numbers", "Show or hide them", "pane('numbers')"),
        _more("plots", "o", "Plots", "Show or hide them", "pane('plots')"),
        _more("zoom", "z", "Maximize", "Give the plot the screen", "zoom('plot')"),
        _more("zoom_log", "Z", "Maximize log", "Give it the screen", "zoom('log')"),
    ),
    "plot": (
        _more(
            "cross", "full_stop", "Crosshair", "Values at the next place", "cross(1)"
        ),
        _more("x_axis", "X", "X axis", "Over epochs, steps or time"),
        _more("log_axis", "Y", "Log axis", "Logarithmic or linear y axis"),
        _more(
            "cross_before", "comma", "Place before", "For the crosshair", "cross(-1)"
        ),
        _more(
            *("enlarge", "right_square_bracket", "Enlarge"),
            *("Show less of the curves, around the crosshair", "zoom_plot(1)"),
        ),
        _more(
            *("reduce", "left_square_bracket", "Reduce"),
            *("Show more of the curves", "zoom_plot(-1)"),
        ),
        _more("left", "less_than_sign", "Left", "Part of the curves before", "pan(-1)"),
        _more(
            "right", "greater_than_sign", "Right", "Part of the curves after", "pan(1)"
        ),
        _more("whole", "0", "Whole", "All of the curves, without the crosshair"),
    ),
    "log": (
        _more("search", "slash", "Search", "Search the log"),
        _more("follow", "f", "Follow", "Keep the end of the log in view"),
        _more("wrap", "w", "Wrap", "Wrap long lines of the log"),
        _more("next", "n", "Next match", "", "step(1)"),
        _more("before", "N", "Match before", "", "step(-1)"),
        _more("close_search", "escape", "Close search"),
    ),
    "compare": (
        Key("metric", "m", "Metric", "Plot the next metric", "metric(1)"),
        Key("baseline", "b", "Baseline", "Show differences to this run"),
        Key("settings", "t", "Settings", "Figures or settings", "turn"),
        Key("fold", "f", "Fold", "One curve per setting, mean ± sd over its seeds"),
        Key("add", "a", "Add", "Mark more runs in the list", "leave"),
        Key("remove", "delete,D", "Remove", "Take this run out"),
        Key("export", "x", "Export", "Write the table or plot to a file"),
        _more("back", "M", "Metric before", "", "metric(-1)"),
    ),
    "report": (Key("export", "x", "Export", "Write this table to a file"),),
    "robustness": (
        Key(
            "view", "f5,v", "View", "Images, classes, confusion or epsilon", "next_view"
        ),
        Key("attack", "a", "Attack", "Show the next attack", "attack(1)"),
        Key("next", "n,right,down", "Next", "The next image", "step(1)"),
        Key("before", "p,left,up", "Previous", "The image before", "step(-1)"),
        Key("class", "c", "Class", "Only images of the next class", "class(1)"),
        Key("broken", "b", "Broken", "Only images that the attack broke"),
        Key("sort", "s", "Sort", "By class, or the worst first"),
        Key("measure", "m", "Measure", "Put the command into the queue"),
        Key("export", "x", "Export", "Write this table to a file"),
        Key("copy", "y", "Copy", "Copy the command line"),
        _more("attack_before", "A", "Attack before", "", "attack(-1)"),
        _more("class_before", "C", "Class before", "", "class(-1)"),
        _more("other", "o", "Other", "Show the next evaluation of the run"),
    ),
    "study_report": (
        Key("export", "x", "Export", "Write this table to a file"),
        Key("page", "h", "HTML report", "With all tables and figures, as a file"),
        Key("copy", "y", "Copy", "Copy the command line"),
    ),
    "sweep": (
        Key("start", "f9", "Start", "Start the study"),
        Key("smoke", "f7", "Smoke", "Train for a minute only"),
        Key("measure", "f6", "Measure", "Try each training, for the time"),
        Key("copy", "f8", "Copy", "Copy the command line"),
        Key("help", "question_mark", "Help", "About this dialog", "app.help"),
    ),
    "queue": (
        Key("open", "enter", "Open", "Show the run", "select_cursor"),
        Key("start", "s", "Start", "Start the queue"),
        Key("stop", "ctrl+k", "Stop", "After this batch; again to kill"),
        Key("remove", "delete,D", "Remove", "Take it out of the queue"),
        Key("again", "a", "Again", "Queue it once more"),
        Key("up", "shift+up,K", "Earlier", "Run it earlier", "order(-1)"),
        _more("down", "shift+down,J", "Later", "Run it later", "order(1)"),
        _more("copy", "y", "Copy", "Copy the command line"),
        _more("clear", "c", "Clear", "Remove all that has ended"),
        _more("more", "plus", "More", "Run one more at a time", "limit(1)"),
        _more("less", "minus", "Fewer", "Run one fewer at a time", "limit(-1)"),
    ),
    "recipes": (
        Key("launch", "f9,l", "Launch", "Put a run into the queue"),
        Key("study", "f10,t", "Study", "Methods × seeds: many runs, one table"),
        Key("view", "f5,v", "View", "Preview, form or command", "next_view"),
        Key("smoke", "f7,s", "Smoke", "Train for a minute only"),
        Key("dry_run", "f6,d", "Dry run", "Estimate memory and time"),
        Key("save", "ctrl+s", "Save as", "Write the changes to a file"),
        Key("list", "escape", "List", "Back to the list", "to_list"),
        _more("copy", "f8,y", "Copy", "Copy the command line"),
        _more("reset_all", "f4", "Reset all", "Undo all changes to the recipe"),
    ),
    "form": (
        _more("choose", "enter,space", "Choose", "", "show_overlay"),
        _more("toggle", "enter,space", "Open / close", "", "turn"),
        _more("open", "right", "Open", "", "open(True)"),
        _more("close", "left", "Close", "", "open(False)"),
        _more("up", "up,k", "Field above", "", "app.focus_previous"),
        _more("down", "down,j", "Field below", "", "app.focus_next"),
        _more("page_up", "pageup", "Page up"),
        _more("page_down", "pagedown", "Page down"),
        _more("reset", "ctrl+r", "Reset field", "Undo this change"),
        _more("mistake", "ctrl+n", "Next mistake", "", "next_mistake"),
    ),
    "dry_run": (
        Key("cancel", "ctrl+k", "Stop", "Again to kill"),
        Key("again", "r", "Run again", "With what the form says now"),
    ),
    "confirm": (
        Key("yes", "y", "Yes", "", "answer(True)"),
        Key("no", "n,escape,q", "No", "", "answer(False)"),
        _more("other", "left,right", "Other answer", "", "app.focus_next"),
    ),
    "curves": (Key("close", "escape,v,q", "Close", "", "leave"),),
    "evaluate": (
        Key("start", "enter", "Evaluate", "Put it into the queue", priority=True),
    ),
    "help": (Key("close", "escape,question_mark,q", "Close", "", "leave"),),
}


def bindings(scope: str, *names: str) -> list[BindingType]:
    """Return the bindings of a table, or those with the given names.

    Args:
        scope: name of the table.
        names: of its actions; all if left out.
    """
    return [
        _binding(scope, key) for key in TABLES[scope] if not names or key.name in names
    ]


def all_bindings() -> dict[str, Binding]:
    """Return every binding by its id, with all of its keys."""
    found = {
        f"{scope}.{key.name}": _binding(scope, key)
        for scope, table in TABLES.items()
        for key in table
    }
    return dict(sorted(found.items()))


def _binding(scope: str, key: Key) -> Binding:
    return Binding(
        key.keys,
        key.action or key.name,
        key.label,
        id=f"{scope}.{key.name}",
        show=key.footer,
        tooltip=key.about,
        priority=key.priority,
        group=_screens if scope == "app" and key.footer else None,
    )
