"""The style sheet of the plan page: light and dark, wide and narrow, on paper as well."""

from typing import Final

__all__ = ["STYLE"]

_LIGHT: Final = (
    "#3056c9", "#d9480f", "#2b8a3e", "#ae3ec9", "#e09f00", "#0b7285",
    "#c2255c", "#74b816", "#7048e8", "#8d5a2b", "#22a7c4", "#ff8787",
)  # fmt: skip
_DARK: Final = (
    "#6f93ff", "#ff8c5a", "#51cf66", "#da77f2", "#ffd43b", "#3bc9db",
    "#f7679b", "#a9e34b", "#a58bff", "#c99a6b", "#8adcf0", "#ffb3b3",
)  # fmt: skip


def _colours(values: tuple[str, ...]) -> str:
    return "".join(f"--c{number}:{value};" for number, value in enumerate(values))


_CLASSES: Final = "".join(
    f".c{name}{{--k:var(--c{name})}}" for name in [*range(len(_LIGHT)), "s", "n"]
)

STYLE: Final = (
    ":root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#1b2430;--soft:#5b6675;"
    "--line:#d9dee5;--track:#eceff3;--ext:#cfd9ea;--way:#1b2430;--accent:#1f5fbf;--cs:#495464;"
    "--cn:#1f5fbf;--bad:#b3261e;--badge:#fdecea;--on:#e8f0fd;" + _colours(_LIGHT) + "}"
    "@media(prefers-color-scheme:dark){:root{--ground:#12161c;--card:#1a2028;--ink:#e7ecf3;"
    "--soft:#9aa7b8;--line:#313a46;--track:#262e38;--ext:#33425c;--way:#f1f4f8;--accent:#7fb0ff;"
    "--cs:#c3ccd8;--cn:#7fb0ff;--bad:#ff9e94;--badge:#43201d;--on:#22344f;"
    + _colours(_DARK)
    + "}}"
    + _CLASSES
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.45 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main,header,footer{max-width:1500px;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.4rem}
h1{font-size:1.5rem;margin:0 0 .3rem}
h2{font-size:1.2rem;margin:2rem 0 .6rem}
h3{font-size:1rem;margin:0 0 .6rem}
.facts{margin:0;padding:0;list-style:none;display:flex;flex-wrap:wrap;gap:.15rem 1.4rem;
color:var(--soft)}
.facts b{color:var(--ink);font-weight:600;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.8rem,1fr));gap:.7rem;
margin:1.1rem 0}
.tiles div,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:.75rem .9rem}
.tiles dt{color:var(--soft);font-size:.82rem}
.tiles dd{margin:.1rem 0 0;font-size:1.2rem;font-weight:650;line-height:1.2;
white-space:nowrap}
.tiles dd small{white-space:normal}
.tiles small{display:block;font-size:.78rem;font-weight:400;color:var(--soft);margin-top:.2rem}
.card{margin:0 0 1rem;padding:1rem 1.1rem}
.alert{background:var(--badge);border-color:var(--bad);color:var(--ink)}
.alert h3{color:var(--bad)}
.alert ul{margin:.2rem 0 0;padding-left:1.2rem;overflow-wrap:anywhere}
.part{display:grid;grid-template-columns:minmax(0,1fr) 19rem;gap:0 1rem;align-items:start}
.part>.main{min-width:0}
.details{position:sticky;top:1rem;max-height:calc(100vh - 2rem);overflow:auto;
overflow-wrap:anywhere}
.details dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem .8rem;margin:0}
.details dt{color:var(--soft)}
.details dd{margin:0}
.details ul{margin:0;padding:0;list-style:none}
.details .hint{color:var(--soft);margin:0}
.key{display:inline-block;width:.85em;height:.85em;border-radius:3px;background:var(--k);
margin-right:.45em;vertical-align:-.08em;flex:none}
.legend{display:flex;flex-wrap:wrap;gap:.4rem;margin:0 0 .9rem;padding:0;list-style:none}
.legend button{display:flex;align-items:center;gap:.1rem;font:inherit;font-size:.86rem;
max-width:22rem;color:inherit;background:transparent;border:1px solid var(--line);
border-radius:99px;padding:.16rem .7rem;cursor:pointer}
.legend li{max-width:100%}
.legend .what{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.legend small{color:var(--soft);margin-left:.5em;white-space:nowrap}
.legend button:hover{background:var(--on)}
.legend button[aria-pressed=true]{background:var(--on);border-color:var(--accent)}
.lanes{--row:34px;--cols:4.6rem min(var(--name),24%) minmax(0,1fr) 5.2rem 5.2rem 3.4rem}
.lanes.dense{--row:22px;font-size:.86rem}
.lanes.files{--row:26px;--cols:min(var(--name),34%) minmax(0,1fr) 5.4rem 8.2rem;font-size:.9rem}
.head,.row{display:grid;grid-template-columns:var(--cols);column-gap:.7rem;align-items:center}
.head{color:var(--soft);font-size:.78rem;padding:0 .4rem .25rem;border-bottom:1px solid var(--line)}
.head>span:nth-last-child(-n+2),.num{text-align:right}
.lanes:not(.files) .head>span:nth-last-child(3){text-align:right}
.ticks{display:flex;justify-content:space-between;color:var(--soft);font-size:.78rem;
white-space:nowrap}
.rows{position:relative;padding:0 .4rem;border-radius:6px}
.row{height:var(--row);position:relative;cursor:default}
.row>span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.row .no{color:var(--soft);font-size:.86em}
.row .bar{align-self:stretch;visibility:hidden}
.row::before{content:"";position:absolute;inset:1px -.4rem;border-radius:5px;z-index:-1}
.rows{isolation:isolate}
.row:hover::before,.row[aria-selected=true]::before{background:var(--on)}
.over{position:absolute;inset:0 .4rem;display:grid;grid-template-columns:var(--cols);
grid-template-rows:minmax(0,1fr);column-gap:.7rem;pointer-events:none;z-index:1}
.over svg{grid-column:3;width:100%;height:100%;overflow:visible;min-width:0}
.files .over svg{grid-column:2}
.rows:focus-visible,.reel:focus-visible,button:focus-visible{outline:2px solid var(--accent);
outline-offset:2px}
.track{fill:var(--track)}
.ext{fill:var(--ext)}
.mark{fill:var(--k);transition:opacity .12s}
.way,.hops,.dots,.wraps,.pass,.here{fill:none;vector-effect:non-scaling-stroke}
.way{stroke:var(--way);stroke-width:1.2px;opacity:.6}
.hops{stroke:var(--way);stroke-width:1px;opacity:.4;stroke-dasharray:5 3}
.dots{stroke:var(--way);stroke-width:5px;stroke-linecap:round;opacity:.85}
.here{stroke:var(--ink);stroke-width:2px}
.dim{opacity:.1}
.hide-way .way,.hide-way .hops,.hide-way .dots{display:none}
.tools{float:right;font-size:.86rem;color:var(--soft)}
.scroll{max-height:44rem;overflow:auto}
.scroll .head{position:sticky;top:0;background:var(--card);z-index:2}
.notes.above{margin:-.4rem 0 .8rem .2rem}
.notes{margin:.6rem 0 0;padding:0;list-style:none;color:var(--soft);font-size:.86rem;
overflow-wrap:anywhere}
.lead{color:var(--soft);margin:-.3rem 0 .9rem;font-size:.9rem}
figure{margin:0 0 1rem}
figcaption{color:var(--soft);font-size:.86rem;margin-bottom:.3rem}
.course svg{width:100%;height:90px;border-bottom:1px solid var(--line);display:block}
.course path{fill:var(--accent);opacity:.35}
.tape svg{width:100%;display:block;background:var(--track);border-radius:6px}
.band{fill:var(--ext);opacity:.35}
.wraps{stroke:var(--soft);stroke-width:1px;opacity:.35}
.pass{stroke:var(--k);stroke-width:6px;stroke-linecap:round}
.reel{position:relative}
.tape .dots{stroke-width:2.5px}
.nr{position:absolute;transform:translate(-50%,-150%);font-size:.72rem;font-weight:600;
pointer-events:none}
.nr.low{transform:translate(-50%,30%)}
.bands{position:absolute;inset:0;display:flex;flex-direction:column;pointer-events:none}
.bands span{flex:1;padding:.15rem .5rem;font-size:.72rem;color:var(--soft);text-align:right}
.tape .way{stroke-width:1px;opacity:.4}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);white-space:nowrap}
thead th{color:var(--soft);font-weight:500;font-size:.82rem}
td.num,th.num{text-align:right}
td:last-child{white-space:normal;min-width:9rem}
.orders{margin:0;padding:0;list-style:none}
.order{display:grid;grid-template-columns:9rem minmax(0,1fr) 19rem;gap:.8rem;align-items:center;
padding:.2rem 0}
.order svg{width:100%;height:16px}
.order rect{fill:var(--soft);opacity:.55}
.order.taken rect{fill:var(--accent);opacity:1}
.order.taken{font-weight:600}
.order small{font-weight:400;color:var(--soft)}
.tag{font-style:normal;font-size:.72rem;color:var(--card);background:var(--accent);
border-radius:99px;padding:.05rem .5rem;margin-left:.3rem}
.bad{color:var(--bad)}
footer{color:var(--soft);font-size:.82rem;padding-bottom:2rem}
@media(max-width:950px){.lanes .ticks span:nth-child(even){display:none}}
@media(max-width:1250px){.part{grid-template-columns:minmax(0,1fr)}
.details{position:sticky;top:auto;bottom:0;max-height:40vh;order:9;box-shadow:0 -4px 18px #0003}}
@media(max-width:640px){.legend button{max-width:100%}.lanes .ticks span:not(:first-child):not(:last-child){display:none}
.lanes{--cols:2rem 6rem minmax(0,1fr) 4.6rem}
.lanes:not(.files) .head>span:nth-child(n+5),.lanes:not(.files) .row>span:nth-child(n+5){display:none}
.lanes.files{--cols:7rem minmax(0,1fr) 7rem}
.files .head>span:nth-child(3),.files .row>span:nth-child(3){display:none}
.order{grid-template-columns:1fr}}
@media print{.details,.tools{display:none}.part{display:block}.scroll{max-height:none}}
"""
)
