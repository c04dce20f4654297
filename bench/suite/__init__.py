"""What bench/run and bench/compare are made of.

cases      what there is to measure: a case is one system in one variant of one scenario
programs   where the programs are, how those that are missing are built, what cannot be and why
processes  servers and loads: started, waited for, and ended whatever happens
metrics    names, units and directions of what is measured; median and MAD
machine    where it was measured, and with which versions
main       the command: order, progress, files
report     tables in Markdown; where weft loses
pictures   SVG
compare    two results
"""
