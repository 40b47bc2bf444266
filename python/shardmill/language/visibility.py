"""Which nouns name a thing that can be seen: word lists, and the suffixes of abstract nouns."""

from __future__ import annotations

from functools import lru_cache

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold, singular

_CACHE = 1 << 16

IMAGE_WORDS = frozenset(
    "photo photograph photography picture image pic view viewpoint close-up closeup close background foreground backdrop shot "
    "snapshot illustration stock vector clipart clip-art icon logo portrait sketch render rendering template mockup mock-up "
    "thumbnail screenshot caption copyright royalty video clip footage frame-shot gif jpeg jpg png png-image file download "
    "panorama still diagram figure infographic design pattern texture selfie concept collage graphic print drawing lookbook "
    "gallery portfolio slideshow preview getty shutterstock alamy istock pinterest instagram facebook youtube flickr "
    "editorial resolution hd 4k hdr bokeh exposure angle perspective composition scene scenery set-up setup layout artwork "
    "vectors silhouette landscape wallpaper-image depiction".split()
)
"""Words about the picture instead of what it shows."""

PLACE_IN_IMAGE = frozenset(
    "front side back rear top bottom middle center centre edge end corner half part portion section area spot place location "
    "distance left right inside outside interior exterior underside surface tip base surroundings surrounding vicinity "
    "midst direction position point line row column-wise column-row lot rest beginning start way course site zone region "
    "district country state county province continent world planet-earth east west north south".split()
) - frozenset({"column-wise", "column-row", "planet-earth"})
"""Words for where something is; of themselves they name nothing."""

_QUANTITIES = frozenset(
    "pair group bunch couple lot number variety assortment array collection selection series set piece slice bit amount handful "
    "dozen hundred thousand million ton plenty majority kind type sort form style size shape color colour shade tone hue stack "
    "pile heap pack flock herd swarm team trio duo quartet range mix mixture combination host load quantity unit total "
    "chunk sheet scoop dash spread layer length loaf bar sea body flight clump cluster litter school pride wedge strip "
    "string-set row line assembly batch class crew portion bundle crowd family bouquet-set lump serving helping splash "
    "gang tier segment patch round".split()
)
PARTITIVES = _QUANTITIES | IMAGE_WORDS | PLACE_IN_IMAGE
"""Before "of", these only count, cut up or place what follows: "a slice of pizza", "the front of a house"."""

_ABSTRACT = frozenset(
    # time
    "time day night morning afternoon evening noon midday midnight dawn dusk twilight daytime nighttime today tomorrow yesterday "
    "hour minute second moment week weekend month year decade century season spring summer autumn fall winter "
    "january february march april may june july august september october november december monday tuesday wednesday thursday "
    "friday saturday sunday christmas halloween thanksgiving easter birthday anniversary holiday vacation eve age era period "
    "past present-day future date daylight nightfall sundown "
    # activities, events
    "game match race competition championship tournament league cup-final contest event party wedding ceremony festival "
    "celebration concert show performance parade premiere meeting conference lesson class-time training practice exercise workout "
    "session tour trip travel journey visit adventure ride walk run jump turn trick stunt flight fight battle play playtime "
    "work job task business career sale shopping rent discount offer price deal promotion delivery shipping service order "
    "breakfast lunch dinner supper brunch meal snack-time cooking baking recipe idea tip step-by-step tutorial guide review how-to "
    "news article blog post story episode chapter part-time test exam study research project plan program programme process "
    "action activity motion movement speed pose gesture look glance gaze stare smile laugh laughter grin frown kiss hug touch "
    "dance song music sound noise voice talk speech conversation discussion chat call interview announcement question answer "
    "attempt effort try catch throw hit kick swing-motion serve pitch shot goal-score score win victory defeat loss success "
    "failure start finish rehearsal routine patrol duty attack war peace crime accident crash incident protest "
    "campaign election hike swim dive nap sleep bite sip taste smell drive stroll gathering reunion picnic-time trek arrival "
    "departure landing takeoff take-off launch stop-over opening rodeo marathon olympics soccer football-game tennis-match "
    "baseball-game yoga golf-game basketball-game skiing surfing tennis baseball basketball football golf hockey rugby cricket "
    "volleyball badminton chess karate judo boxing wrestling sport sports athletics gymnastics "
    # qualities, feelings, ideas
    "love joy happiness fun fear hope peace anger beauty style fashion mood feeling emotion dream memory thought mind faith "
    "life death health fitness wellness luxury comfort care help support safety security freedom power energy strength "
    "art culture history tradition religion nature science technology education economy industry politics law finance marketing "
    "management communication information data knowledge skill experience opportunity challenge problem solution result reason "
    "purpose use usage function role example case-study detail feature option choice quality value cost benefit advantage "
    "difference level degree rate percent percentage grade rank size scale-size weight height width length depth volume shape "
    "color colour hue tint tone shade contrast brightness darkness dark shadow-play sunlight-mood heat cold warmth weather "
    "climate temperature air wind breeze gravity balance symmetry order-of chaos peacefulness silence attention interest "
    "focus effect influence impact spirit soul heaven hell luck chance fate magic mystery secret surprise truth lie fact "
    "name title label-name brand model-number version edition number no size type kind sort theme topic subject issue matter "
    "thing something anything nothing everything stuff everyone everybody anyone anybody nobody someone somebody one ones other "
    "others self himself herself itself themselves each all both lot lots plenty more most less least much many few several "
    "way manner method mode means form format fit pattern trend advice inspiration motivation trivia rumor opinion comment "
    "thanks welcome hello goodbye wish greeting congratulations vibe aesthetic elegance glamour romance friendship "
    "relationship marriage engagement pregnancy childhood youth adulthood retirement beginner expert-level access amenity "
    "variety selection collection accommodation destination location attraction sightseeing tourism heritage "
    "preparation progress construction renovation installation maintenance repair arrangement display-mode condition state "
    "status situation circumstance environment atmosphere ambience ambiance setting place spot area space room-for gap "
    "capacity approach reading writing learning teaching photography breed species shade mid-air midair "
    "background foreground lifestyle rating availability demand supply access return free sold new best top cheap buy sell "
    "bedtime bath-time lunchtime dinnertime kickoff halftime overtime inning innings quarter semifinal final finals "
    "inch feet-long cm mm km kg ml lb lbs oz ft mph usd eur gbp w c circa approx vol pt pcs qty xl xxl xs isbn sku "
    "getaway honeymoon stay fail tribute debut hairstyle haircut makeover".split()
)

# Nouns in -ing that are things.
_ING_THINGS = frozenset(
    "building painting ceiling railing ring king string wing swing spring pudding clothing awning crossing dressing icing frosting "
    "topping filling stuffing seasoning carving earring sibling duckling dumpling herring bedding flooring stocking siding paving "
    "housing lightning sling sapling seedling gosling viking rigging scaffolding lettering piping plumbing wiring sterling "
    "upholstery dwelling coating lining packing-case covering wrapping string-light starling yearling moulding molding tubing "
    "fencing roofing decking shelving edging matting netting webbing padding hamstring drawstring shoestring onion-ring "
    "o-ring bearing fitting casing furnishing offering-box tiling planking cladding greyling ingredient-ring parking".split()
)
# Words that end like abstract nouns and are things.
_THINGS = frozenset(
    "station television decoration mansion lotion potion carnation intersection plantation vegetation reflection medication "
    "pavilion cushion lion onion scorpion dandelion medallion stallion battalion accordion companion million-dollar champion "
    "city kitty university facility apartment equipment pavement garment basement monument instrument cement tenement ornament "
    "document compartment department embankment fragment ointment condiment parchment advertisement settlement encampment "
    "escarpment casement fence ambulance audience residence appliance entrance neighborhood neighbourhood hood fortification "
    "ship spaceship battleship warship airship flagship steamship township starship harness witness lioness governess waitress "
    "ceramics plastics cosmetics mechanics graphics-card prism ostrich celebrity deity fruit conditioner attraction "
    "excavation installation-art habitation subdivision junction extension-cord constellation injection-needle concession "
    "conveyance ordinance-map substance science-lab pittance utensil electronics fabrics crucifixion cotton-candy "
    "tarpaulin medallion section-gang organism seance-table concoction fashion-model".split()
)
_ABSTRACT_ENDINGS = (
    "ness", "ity", "ism", "tion", "sion", "ment", "ance", "ence", "hood", "ology", "onomy", "ography", "ics", "acy", "itude", "ation",
    "ency", "ancy", "ability", "dom",
)  # fmt: skip
_ABSTRACT_SHIPS = ("onship", "dship", "ership", "nership", "anship", "orship", "enship", "arship")


@lru_cache(maxsize=_CACHE)
def is_known(name: str) -> bool:
    """Whether the lexicon lists the name as an object, a part or a scene of one."""
    words = lexicon()
    return words.exact(name) is not None or bool(words.in_scene(fold(name)))


@lru_cache(maxsize=_CACHE)
def is_visible_word(word: str) -> bool:
    """Whether one noun, in either number, names a thing that can be seen; an unknown word does unless its ending says no."""
    one = singular(word)
    if word in IMAGE_WORDS or one in IMAGE_WORDS or one in PLACE_IN_IMAGE or word in PLACE_IN_IMAGE:
        return False
    if one in _ABSTRACT or word in _ABSTRACT:
        return False
    if one in _ING_THINGS or one in _THINGS or word in _THINGS or is_known(word):
        return True
    return not (one.endswith(_ABSTRACT_ENDINGS + _ABSTRACT_SHIPS) or (one.endswith("ing") and len(one) > 4))
