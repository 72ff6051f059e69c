"""Common English words by their place in a sentence, and the pieces from which running speech is composed."""

# Verbs as "base past"; the third person and the -ing form are regular enough to be made by rule.
VERBS_WITH_OBJECT = """
accept accepted, add added, admire admired, answer answered, ask asked, avoid avoided, bake baked, beat beat, begin
began, bend bent, borrow borrowed, break broke, bring brought, brush brushed, build built, burn burned, buy bought,
call called, carry carried, catch caught, change changed, check checked, choose chose, clean cleaned, climb climbed,
close closed, collect collected, compare compared, cook cooked, copy copied, count counted, cover covered, cross
crossed, cut cut, deliver delivered, describe described, design designed, discover discovered, draw drew, dress
dressed, drink drank, drive drove, drop dropped, dry dried, eat ate, empty emptied, enjoy enjoyed, enter entered,
examine examined, explain explained, feed fed, fetch fetched, fill filled, find found, finish finished, fix fixed,
fold folded, follow followed, forget forgot, freeze froze, gather gathered, get got, give gave, grab grabbed, grow
grew, guard guarded, guess guessed, handle handled, hang hung, hear heard, help helped, hide hid, hit hit, hold held,
hug hugged, hunt hunted, ignore ignored, imagine imagined, improve improved, inspect inspected, invite invited, join
joined, keep kept, kick kicked, knock knocked, know knew, learn learned, leave left, lend lent, lift lifted, like
liked, load loaded, lock locked, lose lost, love loved, make made, measure measured, meet met, mend mended, miss
missed, mix mixed, move moved, need needed, notice noticed, obey obeyed, offer offered, open opened, order ordered,
own owned, pack packed, paint painted, park parked, pass passed, pay paid, pick picked, plan planned, plant planted,
polish polished, pour poured, praise praised, prefer preferred, prepare prepared, press pressed, print printed,
promise promised, protect protected, prove proved, pull pulled, push pushed, raise raised, reach reached, read read,
receive received, record recorded, refuse refused, remember remembered, remove removed, rent rented, repair repaired,
repeat repeated, replace replaced, report reported, rescue rescued, return returned, ride rode, ring rang, roll
rolled, ruin ruined, save saved, scratch scratched, search searched, see saw, sell sold, send sent, serve served, sew
sewed, shake shook, share shared, show showed, shut shut, sign signed, sing sang, smell smelled, solve solved, spend
spent, spill spilled, spot spotted, spread spread, squeeze squeezed, steal stole, stir stirred, store stored, study
studied, surprise surprised, sweep swept, take took, taste tasted, teach taught, tear tore, tell told, test tested,
thank thanked, throw threw, tie tied, touch touched, trade traded, train trained, trust trusted, try tried, turn
turned, understand understood, unload unloaded, unpack unpacked, use used, visit visited, warm warmed, warn warned,
wash washed, waste wasted, watch watched, wear wore, weigh weighed, win won, wipe wiped, wrap wrapped, write wrote
"""

VERBS_WITHOUT_OBJECT = """
agree agreed, appear appeared, argue argued, arrive arrived, blink blinked, breathe breathed, collapse collapsed, come
came, complain complained, cough coughed, cry cried, dance danced, disappear disappeared, dream dreamed, fail failed,
fall fell, fight fought, float floated, fly flew, frown frowned, giggle giggled, go went, hesitate hesitated, hurry
hurried, jump jumped, kneel knelt, laugh laughed, lean leaned, lie lay, listen listened, live lived, march marched,
nod nodded, pause paused, play played, pray prayed, rest rested, rise rose, run ran, sail sailed, shine shone, shiver
shivered, shout shouted, sigh sighed, sit sat, sleep slept, slip slipped, smile smiled, sneeze sneezed, speak spoke,
stand stood, start started, stay stayed, stop stopped, stumble stumbled, succeed succeeded, swim swam, talk talked,
think thought, travel travelled, tremble trembled, vanish vanished, wait waited, wake woke, walk walked, wander
wandered, whisper whispered, whistle whistled, win won, wonder wondered, work worked, worry worried, yawn yawned
"""

THINGS = """
account apple arm bag ball banana band bank basket bath bean bed bell belt bench bicycle bill biscuit blanket board
boat body bone book boot bottle bowl box branch bread brick bridge brush bucket building bus bush butter button cabin
cable cage cake camera candle cap car card carpet carrot cart castle chain chair chalk cheese cherry chicken church
circle clock cloth cloud coat coffee coin collar comb computer cookie corner cotton couch counter crown cup cupboard
curtain cushion dress desk diary dinner dish door dot drawer drum duck egg elbow engine envelope fence field film
finger fire fish flag flame floor flower fork fountain frame fridge fruit garage garden gate gift glass glove grape
grass guitar hammer handbag handle hat helmet hill hook horn house iron island jacket jar jelly jewel jug juice kettle
key keyboard kitchen kite knee knife ladder lake lamp leaf leather lemon lesson letter library lid light lock lunch
machine magazine map market mat match meal medal melon menu message milk mirror money monitor motor mountain mouse
museum mushroom nail napkin needle nest net newspaper notebook number nut oar office oil onion orange oven paint pan
paper parcel park party path peach pear pearl pen pencil pepper phone photo piano picture pie pillow pin pipe pizza
place plane plate pocket pole pond pool potato present printer prize pump puppet purse puzzle radio railway rain
recipe ribbon rice ring river road rock rocket roof room rope rose rug ruler sack saddle sail salad salt sand sandwich
saucer sausage scarf school scissors screen seat seed shadow sheet shelf shell ship shirt shoe shop shoulder shovel
shower sign silver sink skirt sky snow soap sock sofa soup spade spoon spring square stable stair stamp star station
steam step stick stone store storm story stove straw stream street string sugar suit suitcase sun sweater switch table
tablet tail tank tap tape taxi tea telephone tent ticket tie toast toilet tomato tooth towel tower town toy track
tractor train tray tree triangle trousers truck trumpet tube tunnel umbrella uniform van vase vegetable vest video
village violin wall wallet watch water wave wax wheel whistle window wine wing wire wood wool yard zip upgrade update
download copyright uproar supper puppy stopper gopher nose note node offer coffin downpour uplift goal goat ghost bow
row sole cone
"""

# Said alone only. Many begin like a common command, end like one or hold one.
SINGLE_WORDS = """
backwards cupid downtown forever forward gold goodnight headlights known leftovers lefty nonstop noon north nowhere
okra onwards rightful rightly runoff showdown south southwest uptown upwards west yeast yesteryear zeroes tenor
fortune fiver sixpence ninefold tension twofold atone stoneware alright outright undergo cargo ongoing upon liftoff
playoff startup pickup backup hiccup breakdown countdown sundown piano domino casino volcano yesman lightly leftmost
"""

PEOPLE = """
actor artist aunt author baby baker barber boss boy brother builder butcher captain carpenter chef child clerk clown
coach cook cousin customer dancer daughter dentist doctor driver engineer farmer father firefighter fisherman friend
gardener girl grandfather grandmother guard guest guide hairdresser hunter husband judge king lady lawyer leader
librarian man manager mayor mechanic mother musician neighbour nephew niece nurse officer owner painter partner
passenger pilot plumber poet policeman postman president prince princess prisoner producer professor pupil queen
reporter sailor scientist secretary shepherd singer sister soldier son stranger student tailor teacher thief tourist
traveller twin uncle visitor waiter wife winner witch woman worker writer
"""

ANIMALS = """
ant bat bear beaver bee beetle bird bull butterfly camel cat chicken cow crab crocodile crow deer dog dolphin donkey
dove dragon duck eagle elephant fly fox frog giraffe goat goose hamster hare hedgehog hen horse kangaroo kitten
ladybird lamb lion lizard lobster monkey moose moth mouse octopus otter owl ox panda parrot peacock penguin pig pigeon
pony puppy rabbit rat raven robin salmon seal shark sheep snail snake sparrow spider squirrel swan tiger tortoise
turkey turtle whale wolf worm zebra
"""

NAMES = """
Adam Alice Amy Andrew Anna Arthur Barbara Ben Bob Brian Carol Charles Chris Clara Daniel David Diana Edward Ella Emily
Emma Eric Eva Frank Fred George Grace Hannah Harry Helen Henry Hugo Ian Isaac Jack James Jane Jenny Jessica Jim Joan
John Joseph Julia Karen Kate Kevin Laura Leo Linda Lisa Louise Lucy Luke Margaret Maria Mark Martin Mary Max Michael
Monica Nancy Nick Nora Oliver Oscar Pamela Patrick Paul Peter Philip Rachel Ralph Rebecca Richard Robert Rose Roger
Ruth Sam Sarah Simon Sofia Stephen Susan Thomas Tim Tom Victor Walter William
"""

PLACES = """
Africa America Amsterdam Asia Athens Australia Berlin Boston Brazil Brussels Cairo California Canada Chicago China
Copenhagen Denmark Dublin Edinburgh Egypt England Europe Finland Florida France Germany Glasgow Greece India Ireland
Italy Jamaica Japan Kenya Lisbon Liverpool London Madrid Manchester Mexico Montreal Moscow Norway Ontario Oxford Paris
Poland Portugal Prague Rome Scotland Spain Stockholm Sweden Sydney Texas Tokyo Toronto Vienna Wales Warsaw
"""

ADJECTIVES = """
afraid alone ancient angry anxious awful bad beautiful big bitter black blue bold boring brave bright broken brown
busy calm careful careless cheap clean clear clever cold comfortable common cool crazy crowded cruel curious damp
dangerous dark dead deep delicious different difficult dirty dry dull early easy elegant empty enormous expensive fair
famous fancy fast fat favourite fine flat fresh friendly full funny gentle glad golden good grateful great greedy
green grey happy hard healthy heavy helpful high hollow honest hot huge hungry icy ill important innocent jealous
juicy kind large late lazy light little lively lonely long loose loud lovely low lucky mad mild modern muddy narrow
nasty near neat nervous new nice noisy nosy odd old open orange ordinary pale patient perfect pink plain pleasant
polite poor popular pretty proud purple quick quiet rare ready real red rich ripe rotten rough round royal rude sad
safe salty secret selfish serious shallow sharp shiny short shy sick silent silly silver simple sleepy slim slippery
slow small smart smooth soft sore sour spare special spicy square stale steep sticky stiff strange strict strong
stupid sudden sunny sweet tall tame tasty terrible thick thin thirsty tidy tight tiny tired tough ugly unhappy unknown
upset upper upright useful usual vast violent warm weak wet white whole wicked wide wild wise wonderful wooden wrong
yellow young
"""

ADVERBS = """
again already always away badly briefly carefully cheaply clearly closely daily early easily eagerly everywhere
finally gently gladly happily hardly here home indoors instead kindly lately loudly merrily nearly neatly nervously
never often outside patiently perhaps politely proudly quickly quietly rarely sadly safely secretly seldom silently
slowly softly somehow sometimes soon steadily still suddenly surely sweetly there today together tomorrow tonight
twice upstairs usually weekly well wisely yearly yesterday
"""

TIMES = """
this morning, last night, next week, every day, at noon, after lunch, before dinner, in the evening, last summer, next
spring, in the winter, at midnight, all afternoon, on Monday, on Tuesday, by Wednesday, until Thursday, since Friday,
every Saturday, on Sunday, in January, in March, since April, in August, until October, before Christmas, a week ago,
an hour later, at the weekend, these days, in the end, from time to time, once upon a time, right away, as soon as
possible, for a while
"""

WHERES = """
at home, at school, at work, at the station, at the market, behind the house, beside the river, between the trees, by
the window, in the bedroom, in the city, in the country, in the garden, in the kitchen, in the middle of the road,
inside the box, near the bridge, near the sea, next to the bank, outside the shop, over the hill, around the corner,
along the beach, across the street, under the bed, under the table, behind the door, above the clouds, below the
surface, against the wall, through the forest, beyond the mountains, among the flowers, on the roof, on the left side,
on the right hand side, down the lane, up the stairs, off the shelf, into the water, towards the village
"""

NUMBERS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million
"""

SMALL_WORDS = """
a about after all also although an and another any anybody anything are as at be because been before both but by can
could did do does each either else enough even ever every everybody everything few first for from had has have he her
hers herself him himself his how however if in into is it its just least less many may maybe me might mine more most
much must my myself neither nobody none nor not nothing now of okay on only or other our ours out over please quite
rather really second several shall she should since so some somebody someone something such than thank that the their
theirs them then these they third this those though thus to too under unless until upon us very was we were what when
where whether which while who whole whose why will with within without would yes no yet you your yours yourself up
down left right off stop go hello goodbye sorry hey
"""

PHRASES = """
How are you today
What do you think about it
I am not sure what he means
Could you tell me the way
It does not matter any more
We are going out tonight
That was the best part of the day
Let me think about that for a moment
Do you want some more tea
I have never seen anything like it
She said it would be fine
There is nothing wrong with that
They have been waiting for hours
Who left the door open
Nobody told me about the meeting
Thank you very much for your help
It is getting late and I am tired
The weather will be better tomorrow
Have you heard the news
Please remember what I said
We could meet again next month
My brother lives in another country
He does not like loud music
The train was late as usual
It takes about half an hour by car
You should see a doctor about that
The children are playing in the yard
I would rather stay here with you
The more I hear the less I believe
Turn the page and read the next line
This is not what we ordered
Can I have the bill please
What time does the shop close
The answer was easier than I expected
It was raining when we arrived
You can leave your coat in the hall
I will call you back later
The battery is almost empty
Somebody has taken my umbrella
That sounds like a good idea
We need milk, butter, and a dozen eggs
The price went up again last year
He sat down and opened the letter
Keep the change
Mind the step
Wait a minute
Never mind
Of course
Maybe later
Good morning everybody
See you soon
Are you ready
I am on my way
It could be worse
You never know
What a pity
Not at all
So far so good
As I was saying
By the way
To be honest
In other words
For example
On the other hand
After all
"""

# Where a keyword stands within a sentence: {} is the keyword.
CARRIERS = """
please say {} now
I said {} twice
did you hear {} or not
the next word is {}
he shouted {} and then he ran
just press {} again
we all say {} together
{} is what she said
{} was the answer
say {} please
and then {} came again
the word {} is short
tell the machine {} and wait
okay, {}
well, {}, I think
hey, {}, can you hear me
maybe {} maybe later
they asked for {} this time
"""
