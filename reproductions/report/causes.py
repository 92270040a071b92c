"""Why numbers were missed, as far as we know; words alone, for numbers are computed."""

CAUSES = (
    "ConvNet, Tables 1 and 2: the ranks are reached, the error is not. From scratch, on the baseline's own schedule "
    "of 70,000 iterations, the force costs the less the weaker it is, and error and ranks trade off nearly in a line: "
    "compare the rows `from scratch` by their column above baseline. From the public model, in fewer iterations and "
    "so under a stronger force, it costs more. At the authors' length of 240,000 iterations it is so too: under l2 at "
    "3e-4 the ranks fall below the paper's, and the error stays above that of the run without force (rows `published "
    "schedule`). Their strength for Table 2 was not published; their command has 5e-5, under which the "
    "error is below the baseline's and the paper's, but the ranks stay where they are without force. Under 2e-4, "
    "between them, error and ranks lie between too. Of l1 no strength was published; it was given the strongest that "
    "5,000 held-out training images allowed, 2e-4, and comes nearer than any l2: to ranks a little above the paper's, "
    "at nearly a point more error than without force. So no strength gave the paper's ranks at the paper's error.",
    "Float32 or bfloat16: of the runs of 240,000 iterations the baseline and l2 at 3e-4 began in bfloat16, and each "
    "note says to which iteration; from there on, and so while the learning rate falls, they are float32. The others "
    "are bfloat16 from first to last, which is faster on a processor that has it; the row `float32 control` repeats "
    "the last 40,000 iterations of l2 at 2e-4 in float32: the same ranks and 0.01 points less error. Of the first "
    "20,000 of l2 at 3e-4 there is one in float32 too, of the same seed (rows `beside the fork`): ranks 14, 23, 41 and "
    "24.41 % error, where bfloat16 gave 14, 23, 42 and 23.79 %. The finished runs of 70,000 iterations with force are "
    "bfloat16 from first to last, and no run of theirs was repeated in float32; of the shortened runs one was (sweep, "
    "none: 17.97 % and, in float32, 18.03 %).",
    "The paper's fork, built for a CPU, and this package from the same weights on the same images (rows `beside the "
    "fork`): over 20,000 iterations, at the strength of 3e-4, their ranks are equal at 34 of 40 snapshots and at the "
    "others one apart in one layer; the mean losses stay within half a percent of one another, the errors within 0.45 "
    "points, 0.25 at the end. The weights part as fast as those of two runs here whose first weights differ by one "
    "rounding, layer by layer: conv2 and conv3 by less than a hundred thousandth of their largest weight after 10 "
    "iterations, conv1, whose first outputs are nearly 0 so that a rounding decides what max pooling takes, by a "
    "hundredth. Both ran on a busy processor: their times say nothing.",
    "What the force takes in error comes back faster than what it takes in ranks: a net that is freed of it before "
    "the learning rate falls (rows `freed`) has nearly the baseline's error, and keeps a part of the lower ranks. "
    "Freed for the last 60,000 of 240,000 iterations it has the baseline's error, or after the published l2 one tenth "
    "and after l1 three tenths of a point less, which one seed does not settle, and its ranks or nearly (rows `freed "
    "240k`): what the force does to the filters hardly outlasts it.",
    "ConvNet without force loses some accuracy on the same short schedule too: compare with it as well as with the "
    "public model.",
    "Table 3 and Figure 7 on ConvNet: the net with force loses less when it is decomposed, but its own error is "
    "higher, and after the short fine-tuning it stays behind, except with k-means. After 240,000 iterations too (rows "
    "`decompose 240k`, fine-tuned for a tenth of the authors' iterations), and with k-means as well: at the ranks that "
    "l2 gave at each of three strengths, and l1 at the chosen one, the net trained without force and decomposed has "
    "the lower error.",
    "The force beside its rivals: at as few iterations the nuclear norm, the Hoyer measure and trained rank pruning "
    "all reach lower ranks at no more error. They act on the singular values themselves; the force turns filters a "
    "little in each step, and needs many.",
    "Tables 4 to 6, conv3 to conv5: a chain of two convolutions moves more memory for each multiply-add than the "
    "dense layer, so the measured speedup stays below the theoretical one, the more the lower the rank.",
    "Table 6, conv1 and conv2: filters one row high or one column wide reach less of the processor's peak here than "
    "square ones do.",
    "GoogLeNet without fine-tuning: most of its layers are small or of one pixel, where two layers take about the "
    "time of one; fewer multiply-adds hardly show before the energy kept is low.",
    "ResNet-20: going on from the public model at a learning rate of 0.01 costs error within 1,000 iterations, with "
    "and without force, and the ranks hardly move; the schedule of 64,000 is listed as unfinished. Error before "
    "training from scratch reads 0: BatchNorm without statistics gives no numbers, and Caffe's Accuracy counts those "
    "as right.",
    "LeNet with the published l1 force of 1e-3: both convolutions fall to rank one and the error rises. A CPU build "
    "of the paper's fork does the same from the same net and solver: conv2 has rank one after 1,000 iterations and "
    "conv1 after 2,500, with 4.25 % error after 3,000 iterations where ours has 3.94 %. So the strength is too high "
    "for this schedule. At a tenth of it the ranks are 11 and 3 with 1.13 % error, at a fifth 4 and 1 with 1.94 %; "
    "the run without force has 0.90 %.",
)
