#pragma once
// A picture of a few numbers, drawn by gnuplot.

#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct bar {
  std::string label;
  double height = 0;
};

/// Draws the bars into an SVG file. Blocks: it runs gnuplot as a child process and feeds it through a pipe.
/// Throws std::runtime_error when gnuplot is not installed or fails.
inline void draw_bar_chart(const std::string& file, const std::string& title, const std::string& unit,
                           const std::vector<bar>& bars) {
  // Asked first, for a shell that finds no gnuplot closes the pipe, and SIGPIPE would end this program.
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0)
    throw std::runtime_error("gnuplot is not installed (Debian: apt install gnuplot-nox), so " + file +
                             " was not drawn");

  const auto quoted = [](const std::string& text) {  // as gnuplot reads it: '' is one quote
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
    return out + "'";
  };
  std::ostringstream script;
  script << std::fixed << std::setprecision(2);
  script << "set terminal svg size 720," << 110 + 50 * bars.size() << " font 'sans-serif,13' background 'white'\n"
         << "set output " << quoted(file) << "\n"
         << "set title " << quoted(title) << "\nset xlabel " << quoted(unit) << "\n"
         << "set style fill solid 0.7 noborder\nset border 3\nset grid xtics\nset tics nomirror out\nunset key\n"
         << "set xrange [0:*]\nset yrange [" << bars.size() << "-0.5:-0.5]\nset offsets 0,graph 0.1,0,0\n"
         << "$bars << end\n";
  for (std::size_t i = 0; i < bars.size(); ++i)
    script << i << ' ' << std::quoted(bars[i].label) << ' ' << bars[i].height << '\n';
  script << "end\n"
         << "plot $bars using (0):1:(0):3:($1-0.35):($1+0.35):ytic(2) with boxxyerror linecolor rgb '#2a6f97', "
         << "$bars using 3:1:(sprintf('%.2f', $3)) with labels left offset 0.7,0\n";

  const std::string text = script.str();
  std::FILE* const gnuplot = popen("gnuplot", "w");
  if (gnuplot == nullptr) throw std::runtime_error("gnuplot could not be started");
  const bool written = std::fwrite(text.data(), 1, text.size(), gnuplot) == text.size();
  if (pclose(gnuplot) != 0 || !written) throw std::runtime_error("gnuplot could not draw " + file);
}
